"""What a family of instances at the edges showed, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something that must not be: ``what`` is one of contradiction, crash, hang, violation or unproven."""

    what: str
    solver: str
    text: str


@dataclass
class Tally:
    """What a family showed."""

    instances: int = 0
    enumerated: int = 0
    infeasible: int = 0
    solves: int = 0
    left_out: int = 0
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    offending: list[tuple[int, list[Finding]]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another tally of the same family."""
        self.instances += other.instances
        self.enumerated += other.enumerated
        self.infeasible += other.infeasible
        self.solves += other.solves
        self.left_out += other.left_out
        self.found += other.found
        self.offending += other.offending

    def to_dict(self) -> dict[str, Any]:
        """Return the tally as JSON values."""
        found = [[*key, count] for key, count in self.found.items()]
        offending = [[seed, [vars(f) for f in some]] for seed, some in self.offending]
        return vars(self) | {"found": found, "offending": offending}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Tally:
        """Return what `to_dict` made a record of."""
        found = Counter({(what, solver): count for what, solver, count in record["found"]})
        offending = [(seed, [Finding(**f) for f in some]) for seed, some in record["offending"]]
        return cls(**(record | {"found": found, "offending": offending}))

    def count(self, what: str) -> int:
        """Instances times solvers with that finding."""
        return sum(n for (kind, _), n in self.found.items() if kind == what)
