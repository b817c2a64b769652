"""Policies and checkpoints as safetensors files: tensors with their settings as JSON, nothing executable."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from hisopt.errors import InputError
from hisopt.files import write_bytes_atomically
from hisopt.instances import StepLimits
from hisopt.solvers.policy.networks import Policy
from hisopt.solvers.policy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from hisopt.instances.scenario import Scenario
    from hisopt.solvers.policy.trainer import Trainer

FORMAT = 1


def write(
    path: Path, tensors: dict[str, Tensor], settings: Settings, scenario: Scenario, progress: Any, updates: int
) -> None:
    """Write tensors with what a policy (``progress`` None) or a checkpoint needs, in one piece."""
    metadata = {"format": f"hisopt policy {FORMAT}", "settings": json.dumps(asdict(settings)),
                "updates": str(updates), "users": str(scenario.users), "steps": scenario.steps.model_dump_json()}  # fmt: skip
    if progress is not None:
        metadata["progress"] = json.dumps(progress)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_atomically(path, save(contiguous, metadata))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors and metadata; raise `InputError` if hisopt.train did not write it."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a policy (a safetensors file written by hisopt.train): {reason}") from None
    if metadata.get("format") != f"hisopt policy {FORMAT}":
        raise InputError(f"{path}: not a policy of this release (format {metadata.get('format')!r})")
    return tensors, metadata


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def export(trainer: Trainer, path: Path) -> None:
    """Write the actors alone, in half precision: what a solver needs."""
    tensors = {k: v.half() if k.startswith("actor.") else v for k, v in trainer.policy.state_dict().items()}
    kept = {f"policy.{k}": v for k, v in tensors.items() if not k.startswith("critic.")}
    write(path, kept, trainer.settings, trainer.contexts.scenario, None, trainer.done)


def trained_updates(path: Path) -> tuple[Settings, int]:
    """Return a policy's settings and the updates it was trained for; raise `InputError` if the file is none."""
    _, metadata = read(path)
    settings = Settings.from_json(metadata["settings"])
    return settings, int(metadata.get("updates", settings.updates))


def load(path: Path) -> Policy:
    """Read a policy; raise `InputError` if the file is none."""
    tensors, metadata = read(path)
    if "progress" in metadata:
        raise InputError(f"{path}: a checkpoint of training, not a policy; the command that made it goes on from it")
    try:
        settings, limits = Settings.from_json(metadata["settings"]), StepLimits.model_validate_json(metadata["steps"])
        policy = Policy(settings, limits, int(metadata["users"]), seed=None)
        found = {name: tensor.float() for name, tensor in part_of(tensors, "policy.").items()}
        missing = policy.load_state_dict(found, strict=False)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a policy: {' '.join(str(error).split())}") from None
    if missing.unexpected_keys or any(not name.startswith("critic.") for name in missing.missing_keys):
        raise InputError(f"{path}: not a policy: parameters are missing or unknown")
    return policy.eval()
