"""The options of `hisopt.solve`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hisopt.commands.common import flag
from hisopt.errors import InputError


@dataclass(frozen=True)
class SolveOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    instance: str | None = None
    preset: str | None = None
    users: int | None = None
    clusters: int | None = None
    seeds: tuple[int, ...] = ()
    prompts: str | None = None
    embeddings: str | None = None
    normalise: bool = False
    standardise: bool = False
    columns: str | None = None
    constraints: str | None = None
    kinds: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    sms: str = "both"
    solvers: tuple[str, ...] = ()
    policy: str | None = None
    profile: str | None = None
    quality: str | None = None
    weights: str | None = None
    modules: str | None = None
    public_prompt: str | None = None
    schemes: tuple[str, ...] = ()
    members: int = 5
    time_limit: float = 3.0
    memory_limit: float = 8.0
    threads: int = 1
    jobs: int = 1
    style: str | None = None
    output: str | None = None
    save_instance: str | None = None
    export: str | None = None
    verbose: bool = False
    listing: bool = False
    schema: bool = False
    example: bool = False
    explain: str | None = None

    @property
    def scenario(self) -> str:
        """Name of the preset that instances are drawn from, where none is given."""
        return self.preset or ("meg" if set(self.kinds) == {"meg"} else "small")

    def check(self) -> None:
        """Raise `InputError` for numbers and combinations that cannot be."""
        for name, value in (
            ("time_limit", self.time_limit),
            ("memory_limit", self.memory_limit),
            ("threads", self.threads),
            ("jobs", self.jobs),
        ):
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"{flag(name)}: is {value:g}, must be a positive number")
        if self.modules is not None and self.quality is not None:
            raise InputError("--modules: chooses between the published tables; give it or --quality")
        for name, path in (("save_instance", self.save_instance), ("export", self.export)):
            if path is not None and len(set(self.seeds)) > 1:
                raise InputError(f"{flag(name)}: is for one instance; give one --seed")
