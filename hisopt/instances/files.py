"""Instances as files: JSON for a reader, arrays that are too long for one beside it.

A file holds the fields of `hisopt.Instance` or `hisopt.IccInstance` and ``schema_version`` and ``model``.
``embeddings`` may name a .npy file beside it; from 20,000 users on, ``columns`` names a Parquet file beside it with all
per-user arrays. A file of results (``--format json``) holds the instance it was made with, and is read as that.
"""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from hisopt.errors import InputError, all_errors
from hisopt.files import write_atomically, write_bytes_atomically, written_through
from hisopt.instances import SCHEMA_VERSION, AnyInstance, IccInstance, Instance, MegInstance
from hisopt.instances.meg_table import read_errors
from hisopt.text.vectors import read_npy, scaled

PARQUET_FROM = 20_000  # users from which per-user arrays go to a Parquet file
_MOST_ERRORS = 10


def save(instance: AnyInstance, path: str | Path) -> None:
    """Write an instance; embeddings go to a .npy file of the same name, from 20,000 users on all arrays to Parquet.

    Into a pipe or a device everything goes as JSON.
    """
    path = Path(path)
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "model": type(instance).model}
    document.update(instance.model_dump(mode="python", exclude_none=True))
    if written_through(path) or isinstance(instance, MegInstance):
        pass
    elif instance.users >= PARQUET_FROM:
        columns = _split_columns(document, instance.users)
        document["columns"] = path.with_suffix(".parquet").name
        _write_parquet(path.with_suffix(".parquet"), columns)
    elif instance.embeddings is not None:
        data = BytesIO()
        np.save(data, instance.embeddings, allow_pickle=False)
        write_bytes_atomically(path.with_suffix(".npy"), data.getvalue())
        document["embeddings"] = path.with_suffix(".npy").name
    write_atomically(path, _readable(document) + "\n")


def load(path: str | Path, *, normalise: bool = False) -> AnyInstance:
    """Read an instance from JSON, or from the JSON results of `hisopt.solve`.

    ``normalise`` scales the rows of its embeddings to norm 1. Raises `InputError` with the file and every field that
    is wrong, and why.
    """
    path = Path(path)
    document = _parsed(path)
    if "runs" in document:
        document = _of_results(path, document)
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"{path}: schema_version: is {version!r}, this release reads {SCHEMA_VERSION}")
    model = document.pop("model", None)
    if model == MegInstance.model:
        return _meg(path, document)
    if model not in (Instance.model, IccInstance.model):
        raise InputError(f"{path}: model: is {model!r}, must be 'his', 'icc' or 'meg'")
    if (columns := document.pop("columns", None)) is not None:
        _join_columns(document, path, columns)
    try:
        if isinstance(name := document.get("embeddings"), str):
            document["embeddings"] = read_npy(_beside(path, name))
        if normalise and document.get("embeddings") is not None:
            document["embeddings"] = scaled(document["embeddings"])
    except InputError as error:
        raise InputError(f"{path}: embeddings: {error}") from None
    kind = Instance if model == Instance.model else IccInstance
    try:
        return kind(**document)
    except ValidationError as error:
        found = all_errors(error)
        if error.errors()[0]["loc"]:  # fields are wrong, so that lengths went unchecked
            found += [line for line in _wrong_lengths(document) if line not in found]
        more = f"; and {len(found) - _MOST_ERRORS} more" if len(found) > _MOST_ERRORS else ""
        raise InputError(f"{path}: " + "; ".join(found[:_MOST_ERRORS]) + more) from None


def _meg(path: Path, document: dict[str, Any]) -> MegInstance:
    """Return an instance of MEG; its ``distortion`` may name a CSV beside the file, with the columns n, beta and mse."""
    if isinstance(name := document.get("distortion"), str):
        if given := [field for field in ("steps", "ratios") if field in document]:
            raise InputError(f"{path}: {given[0]}: is what {name} says; leave it out")
        try:
            document |= read_errors(_beside(path, name))
        except InputError as error:
            raise InputError(f"{path}: distortion: {error}") from None
    try:
        return MegInstance(**document)
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(all_errors(error)[:_MOST_ERRORS])) from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of instance files."""
    forms: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    beside = {
        "embeddings": "unit-norm rows, shape (N, d); or the name of a .npy file beside this one",
        "distortion": "mean squared errors, shape (A, B); or the name of a CSV beside this one with columns n, beta, mse",
    }
    for kind in (Instance, IccInstance, MegInstance):
        form = kind.model_json_schema(mode="validation")
        definitions |= form.pop("$defs", {})
        fields = form["properties"]
        for name in beside.keys() & fields.keys():
            fields[name] = {"description": beside[name], "anyOf": [*fields[name]["anyOf"], {"type": "string"}]}
        about: dict[str, Any] = {"schema_version": {"const": SCHEMA_VERSION}, "model": {"const": kind.model}}
        if kind is not MegInstance:
            columns = "a Parquet file beside this one that holds per-user arrays"
            about["columns"] = {"type": "string", "description": columns}
        form["properties"] = about | fields
        form["required"] = ["schema_version", "model", *form.get("required", ())]
        forms.append(form)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An instance of hisopt",
        "oneOf": forms,
        "$defs": definitions,
    }


def _parsed(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise InputError(f"{path}: {error.strerror}") from None
        if isinstance(error, UnicodeDecodeError):
            raise InputError(f"{path}: not a UTF-8 text file") from None
        if isinstance(error, json.JSONDecodeError):
            place = f"{error.msg} (line {error.lineno}, column {error.colno})"
            raise InputError(f"{path}: not JSON: {place}") from None
        raise InputError(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: not JSON: nested too deeply") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: must be a JSON object")
    return document


def _wrong_lengths(document: dict[str, Any]) -> list[str]:
    """Return which lists of per-user values have not one for each user."""
    users, lines = document.get("users"), []
    parts = [("", document), *((f"{name}.", document.get(name)) for name in ("devices", "radio"))]
    for prefix, part in parts:
        for name, value in part.items() if isinstance(part, dict) and isinstance(users, int) else ():
            if isinstance(value, (list, np.ndarray)) and len(value) != users:
                lines.append(f"{prefix}{name}: {len(value)} values for {users} users")
    return lines


def _of_results(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    if "instances" in document:
        raise InputError(f"{path}: holds the results of several seeds; an instance comes from those of one")
    inner = document.get("instance")
    if not isinstance(inner, dict):
        raise InputError(f"{path}: instance: missing")
    if inner.get("model") != MegInstance.model and "radio" not in inner:
        raise InputError(f"{path}: results of {PARQUET_FROM:,} users and more do not hold their instance")
    inner.setdefault("schema_version", SCHEMA_VERSION)  # results written before this field was
    return {key: value for key, value in inner.items() if key not in _PLACE - _own(inner)}


_PLACE = {"hash", "preset", "seed", "source", "users", "max_clusters"}  # what results say besides the instance


def _own(inner: dict[str, Any]) -> set[str]:
    """Return which of those are fields of the instance itself."""
    return set() if inner.get("model") == MegInstance.model else {"users", "max_clusters"}


def _beside(path: Path, name: str) -> Path:
    if Path(name).name != name:
        raise InputError(f"{name!r}: must be the name of a file beside this one")
    return path.with_name(name)


def _readable(document: dict[str, Any], indent: str = "") -> str:
    """Return JSON with a line for each field, arrays on one line, prompts on one each."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            text = _readable(value, indent + " ")
        elif key == "prompts":
            text = "[" + ",".join(f"\n{indent}  {_dumped(prompt)}" for prompt in value) + f"\n{indent} ]"
        else:
            text = _dumped(value)
        lines.append(f"{indent} {_dumped(key)}: {text}")
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _dumped(value: Any) -> str:
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which JSON may hold and UTF-8 not
        text = json.dumps(value, default=_plain)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _split_columns(document: dict[str, Any], users: int, prefix: str = "") -> dict[str, Any]:
    """Move per-user arrays out of a nested document, keyed by their dotted path."""
    columns: dict[str, Any] = {}
    for key, value in list(document.items()):
        if isinstance(value, dict):
            columns.update(_split_columns(value, users, f"{prefix}{key}."))
        elif key == "prompts" or (isinstance(value, np.ndarray) and value.ndim and len(value) == users):
            columns[prefix + key] = document.pop(key)
    return columns


def _write_parquet(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.ndim == 2:
            return pa.FixedSizeListArray.from_arrays(pa.array(value.reshape(-1)), value.shape[1])
        return pa.array(value)

    table = pa.table({name: column(value) for name, value in columns.items()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: {error.strerror or error}") from None


def _join_columns(document: dict[str, Any], path: Path, name: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(name, str) or Path(name).name != name:
        raise InputError(f"{path}: columns: must be the name of a Parquet file beside this one")
    file = path.with_name(name)
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: not a readable Parquet file: {str(error).splitlines()[0]}") from None
    for dotted in table.column_names:
        *parents, field = dotted.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InputError(f"{file}: column {dotted}: {parent} is not an object in {path}")
        column = table.column(dotted).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            place[field] = column.flatten().to_numpy().reshape(len(column), -1)
        elif pa.types.is_string(column.type):
            place[field] = column.to_pylist()
        else:
            place[field] = column.to_numpy(zero_copy_only=False)
