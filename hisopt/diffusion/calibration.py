"""A profile's parameters, read from its file and put into an instance: FLOPs and utilisation together, and the latent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.instances import Instance

SCHEMA_VERSION = 1
TABLE_FLOP = 12e12
"""xi of Table II: the linear layers of a step of Stable Diffusion 3 Medium with guidance at 1024 x 1024."""
SAME_FLOP = 17_808_675_078_144.0
"""The same step by the convention of `hisopt.profile`, attention and convolution included."""
_EDGE = ("frequency_hz", "flop_per_cycle", "utilisation", "energy_coefficient", "power_per_sm", "power_static")
_DEVICES = ("utilisation", "energy_coefficient", "power_per_sm", "power_static")
_LATENT = ("channels", "height", "width")
_MAY_BE_ZERO = ("power_per_sm", "power_static")
_SHIPPED = Path(__file__).parents[1] / "data" / "profiles"


def shipped_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package; each file says where its numbers are from."""
    return tuple(sorted(file.stem for file in _SHIPPED.glob("*.json")))


def load_profile(path: str) -> dict[str, Any]:
    """Read a profile, a file or the name of a shipped one.

    Returns ``model`` (or None), ``system``, ``edge``, ``devices`` and ``latent``, fields of `Instance`, `Gpu`, `Gpu` and
    `Latent`, and ``notes``. Raises `InputError` with file, field and reason if it is no profile.
    """
    file = _SHIPPED / f"{path}.json" if path in shipped_profiles() else Path(path)
    if not file.is_file() and not file.suffix:
        raise InputError(f"{path}: no such file, and no shipped profile; those are {', '.join(shipped_profiles())}")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {error.strerror if isinstance(error, OSError) else 'not a UTF-8 text file'}"
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version: missing or not {SCHEMA_VERSION}; write a profile by hisopt.profile --output"
        )
    found = document.get("parameters")
    if (
        not isinstance(found, dict)
        or set(found) - {"flop_edge", "flop_device", "edge", "devices", "latent"}
        or not found
    ):
        raise InputError(
            f"{path}: parameters: must hold flop_edge, flop_device, edge, devices, latent, or some of them"
        )
    parts = {"": {k: v for k, v in found.items() if k not in ("edge", "devices", "latent")}}
    for part, known in (("edge", _EDGE), ("devices", _DEVICES), ("latent", _LATENT)):
        parts[part] = found.get(part, {})
        if not isinstance(parts[part], dict) or set(parts[part]) - set(known):
            raise InputError(f"{path}: parameters.{part}: must hold some of {', '.join(known)}")
    for part, values in parts.items():
        for name, value in values.items():
            place = f"parameters.{part}.{name}" if part else f"parameters.{name}"
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not (0 < value < 1e30 or (value == 0 and name in _MAY_BE_ZERO)):
                raise InputError(f"{path}: {place}: is {value!r}, must be a positive number")
            if part == "latent" and value != int(value):
                raise InputError(f"{path}: {place}: is {value!r}, must be a whole number")
    model, notes = document.get("model"), document.get("notes", [])
    return {
        "notes": [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else [],
        "model": model if isinstance(model, str) else None,
        "system": {name: float(value) for name, value in parts[""].items()},
        "edge": {name: float(value) for name, value in parts["edge"].items()},
        "devices": {name: float(value) for name, value in parts["devices"].items()},
        "latent": {name: int(value) for name, value in parts["latent"].items()},
    }


def calibrated(instance: Instance, profile: dict[str, Any]) -> tuple[Instance, list[str]]:
    """Return an instance with a profile's parameters, and notes for the reader.

    Speed over FLOPs is v F D rho / xi, so only rho / xi can be known from a measured speed. Table II's rho goes with its xi,
    which counts linear layers only. Where an instance has that xi, rho grows by what the profile's convention counts more,
    and a processor that took so many seconds for a step of Stable Diffusion 3 Medium still does. Where the profile has
    measured rho of the server, that one holds.
    """
    system, edge, latent = profile["system"], dict(profile["edge"]), profile["latent"]
    own = dict(profile.get("devices", {}))
    notes = list(profile.get("notes", []))
    changes: dict[str, Any] = dict(system)
    scaled = []
    if "flop_edge" in system and instance.flop_edge == TABLE_FLOP and "utilisation" not in edge:
        edge["utilisation"] = instance.edge.utilisation * (SAME_FLOP / TABLE_FLOP)
        scaled.append("the server's")
    if "flop_device" in system and instance.flop_device == TABLE_FLOP and "utilisation" not in own:
        own["utilisation"] = instance.devices.utilisation * (SAME_FLOP / TABLE_FLOP)
        scaled.append("the devices'")
    if scaled:
        notes.append(
            f"{' and '.join(scaled)} utilisation is {SAME_FLOP / TABLE_FLOP:.3f} times Table II's: the profile counts "
            f"{SAME_FLOP / 1e12:.2f} TFLOP for the step of Stable Diffusion 3 Medium that Table II has as 12"
        )
    if edge:
        changes["edge"] = instance.edge.replace(**edge)
    if own:
        changes["devices"] = instance.devices.replace(**own)
    if latent:
        changes["latent"] = instance.latent.replace(**latent)
    model = profile["model"]
    if model not in (None, "sd3-medium"):
        notes.append(
            f"T = {instance.steps.total} steps and the quality curve are of Stable Diffusion 3 Medium, not of {model}: "
            "set steps.total and quality in an instance file"
        )
    return instance.replace(**changes), notes
