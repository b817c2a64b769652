"""Instances as files that people write and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hisopt
from hisopt import PRESETS, IccInstance, Instance
from hisopt.errors import InputError
from hisopt.instances import MegInstance
from hisopt.instances.files import load, save, schema

EXAMPLE = Path(hisopt.__file__).parent / "data" / "example.json"


def example() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return document


def written(document: dict[str, Any], file: Path) -> Path:
    file.write_text(json.dumps(document))
    return file


def test_the_example_is_ten_lines_and_loads() -> None:
    assert len(EXAMPLE.read_text().splitlines()) == 10
    instance = load(EXAMPLE)
    assert isinstance(instance, Instance)
    assert (instance.users, instance.max_clusters) == (4, 2)


def test_all_errors_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    document = example()
    document["edge"]["sms"] = -1
    document["foo"] = 1
    document["radio"]["gain"] = [1e-10] * 3
    document["prompts"] = ["one"]
    with pytest.raises(InputError) as caught:
        load(written(document, tmp_path / "bad.json"))
    for part in (
        "edge.sms: is -1.0, must be > 0", "foo: unknown field", "radio.gain: 3 values for 4 users",
        "prompts: 1 values for 4 users",
    ):  # fmt: skip
        assert part in str(caught.value)
    document = example() | {"max_clusters": 9, "prompts": ["one"], "clusters": [9] * 4}
    with pytest.raises(InputError, match=r"max_clusters 9 exceeds users 4; prompts: 1 .*; clusters: label 9"):
        load(written(document, tmp_path / "bad.json"))


def test_a_saved_instance_is_readable_and_its_embeddings_stand_beside_it(tmp_path: Path) -> None:
    instance = PRESETS["paper"].sample(0)
    save(instance, tmp_path / "mine.json")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.json", "mine.npy"]
    text = (tmp_path / "mine.json").read_text()
    assert '\n "embeddings": "mine.npy"' in text
    assert max(map(len, text.splitlines())) < 2000
    assert instance.prompts is not None
    assert f'\n  "{instance.prompts[7]}",' in text
    assert load(tmp_path / "mine.json") == instance


def test_files_with_their_embeddings_inside_still_load(tmp_path: Path) -> None:
    """As releases before this one wrote them, on one line."""
    instance = PRESETS["small"].sample(0)
    document = {"schema_version": 1, "model": "his"} | instance.model_dump(mode="json", exclude_none=True)
    assert load(written(document, tmp_path / "old.json")) == instance


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.npy", r"embeddings: .*gone\.npy: No such file"),
        ("../v.npy", "must be the name of a file beside this one"),
        ("mine.json", r"mine\.json: not a NumPy file"),
    ],
)
def test_embeddings_that_are_not_beside_it(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(written(example() | {"embeddings": name}, tmp_path / "mine.json"))


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes())
    assert load(tmp_path / "mark.json") == load(EXAMPLE)


def test_embeddings_are_normalised_on_request(tmp_path: Path) -> None:
    document = example() | {"embeddings": [[2, 0], [0, 3], [1, 1], [-1, 0]]}
    file = written(document, tmp_path / "long.json")
    with pytest.raises(InputError, match="embeddings: row 0 has norm 2, must be 1: --normalise"):
        load(file)
    found = load(file, normalise=True).embeddings
    assert found is not None
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0.5**0.5] * 2, [-1, 0]])


def test_results_hold_their_instance(tmp_path: Path) -> None:
    instance = PRESETS["small"].sample(0)
    about = {"schema_version": 1, "model": "his", "source": "small", "preset": "small", "seed": 0, "hash": "x"}
    inner = about | instance.model_dump(mode="json", exclude_none=True)
    assert load(written({"instance": inner, "runs": []}, tmp_path / "r.json")) == instance
    del inner["schema_version"]  # as results were before they carried it
    assert load(written({"instance": inner, "runs": []}, tmp_path / "r.json")) == instance
    with pytest.raises(InputError, match="results of 20,000 users and more do not hold their instance"):
        load(written({"instance": about, "runs": []}, tmp_path / "r.json"))
    with pytest.raises(InputError, match="several seeds"):
        load(written({"instances": [inner, inner], "runs": []}, tmp_path / "r.json"))


def test_the_schema_names_every_field_and_its_limits() -> None:
    document = schema()
    journal, icc, meg = document["oneOf"]
    for form, kind in ((journal, Instance), (icc, IccInstance), (meg, MegInstance)):
        beside = {"schema_version", "model"} | ({"columns"} if kind is not MegInstance else set())
        assert set(form["properties"]) == set(kind.model_fields) | beside
        assert form["additionalProperties"] is False
    assert {"schema_version", "model", "users", "max_clusters", "edge", "devices", "radio"} == set(journal["required"])
    positive = document["$defs"]["Gpu"]["properties"]["sms"]["anyOf"]
    assert positive[0] == {"type": "number", "exclusiveMinimum": 0.0}
    assert positive[1] == {"type": "array", "items": positive[0]}
    assert set(example()) <= set(journal["properties"])
    assert json.loads(json.dumps(document)) == document
