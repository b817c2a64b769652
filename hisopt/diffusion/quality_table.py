"""Read a quality table from a file: what ``hisopt.fit --output`` writes."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from hisopt.errors import InputError
from hisopt.instances import QualityTable

_NAMES = {True: "with_modules", False: "without_modules"}


def load_quality(path: str | Path, modules: bool = True) -> tuple[QualityTable, bool]:
    """Return the table and whether it is that with the SIM and NPI modules.

    Parameters
    ----------
    path
        JSON with ``similarity`` (bins,), and ``with_modules``, ``without_modules`` or both: (L, K, B, G) of (7), (bins, 4).
    modules
        Which to take where the file holds both.

    Raises
    ------
    InputError
        With file, field and reason.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {error.strerror if isinstance(error, OSError) else 'not a UTF-8 text file'}"
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    if not isinstance(document, dict) or "similarity" not in document or not set(document) & set(_NAMES.values()):
        raise InputError(f"{path}: no quality table; write one by hisopt.fit --output")
    taken = modules if _NAMES[modules] in document else not modules
    try:
        table = QualityTable(similarity=document["similarity"], coefficients=document[_NAMES[taken]])
    except ValidationError as error:
        first = error.errors()[0]
        field = "similarity" if "similarity" in first["loc"] else _NAMES[taken]
        raise InputError(f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}") from None
    return table, taken
