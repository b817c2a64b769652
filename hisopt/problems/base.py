"""What a problem is: its own data, a sense, and the only place where a decision for it is scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.decision import malformed, plain, shapes_of
from hisopt.errors import InputError
from hisopt.result import relative_gap

if TYPE_CHECKING:
    from hisopt.arrays import IntArray
    from hisopt.decision import Decision, Shapes
    from hisopt.instances import AnyInstance


@dataclass(frozen=True)
class Evaluation:
    """Objective of a decision, the parts it is made of, and every constraint that it violates (none: feasible).

    ``scale`` is the sum of the absolute terms that the objective adds up, so at least its absolute value: how large
    its rounding errors are, and what solvers' tolerances refer to. 0 stands for the absolute objective itself, where
    all terms have one sign and nothing can cancel.
    """

    objective: float | None
    parts: dict[str, float] = field(default_factory=dict)
    violations: tuple[str, ...] = ()
    scale: float = 0.0

    @property
    def feasible(self) -> bool:
        """Whether no constraint is violated."""
        return not self.violations


@dataclass(frozen=True, eq=False)
class Problem(ABC):
    """A problem with all the data that it needs.

    A subclass sets ``kind``, and ``maximise`` where smaller objectives are better, and scores decisions in `_score`.
    Problems are equal where their data are. ``whole_sms`` says whether SMs must be whole numbers, where there are any.
    """

    kind: ClassVar[str]
    maximise: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ()  # optional fields of an instance that this problem cannot do without
    model: ClassVar[str] = "his"  # of the instances that it is defined for

    @property
    @abstractmethod
    def users(self) -> int:
        """N."""

    @property
    @abstractmethod
    def max_clusters(self) -> int:
        """M."""

    @property
    def shapes(self) -> Shapes:
        """Shape of each field that a decision may have here."""
        return shapes_of(self.users, self.max_clusters)

    @property
    def detail(self) -> str:
        """What tells problems of a kind apart, such as 'mean' or 'integer SMs'; empty where nothing does."""
        return ""

    @property
    def label(self) -> str:
        """Name for a reader, such as 'clustering, mean' or 'joint, integer SMs'."""
        return f"{self.kind}, {self.detail}" if self.detail else self.kind

    def record(self) -> dict[str, Any]:
        """Return what a record says of the problem, JSON values."""
        return {"problem": self.kind, "criterion": None, "integer_sms": False}

    @classmethod
    def missing(cls, instance: AnyInstance) -> list[str]:
        """Return the optional fields that this kind of problem needs and the instance lacks."""
        return [name for name in cls.needs if getattr(instance, name, None) is None]

    @classmethod
    def _check(cls, instance: AnyInstance) -> None:
        """Raise `InputError` where the problem is not defined for an instance."""
        if type(instance).model != cls.model:
            raise InputError(f"problem {cls.kind}: not defined for an instance of the model {type(instance).model!r}")
        for name in cls.missing(instance):
            raise InputError(f"{name}: missing, and the problem {cls.kind} needs it")

    @abstractmethod
    def _score(self, decision: Decision) -> Evaluation:
        """Score a decision made of plain arrays."""

    def evaluate(self, decision: Decision) -> Evaluation:
        """Score a decision.

        The objective is None where the decision is incomplete or malformed, or where its value is no finite number; where
        a well-formed decision violates a constraint, it is computed all the same. Fields that the problem does not decide
        are not read, but must be well-formed, too (`hisopt.decision.plain`).
        """
        decision, refused = plain(decision, self.shapes)
        if refused:
            return Evaluation(None, violations=refused)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is told below
            found = self._score(decision)
        if found.objective is None or np.isfinite(found.objective):
            return found
        return Evaluation(None, violations=(*found.violations, f"objective: is {found.objective}, must be finite"))

    def gap(self, decision: Decision, bound: float) -> float:
        """Return the `relative_gap` of a decision's objective to a bound; infinite where it is not feasible."""
        found = self.evaluate(decision)
        if found.objective is None or not found.feasible:
            return math.inf
        return relative_gap(found.objective, bound, found.scale)

    @cached_property
    def content_hash(self) -> str:
        """First 16 hex digits of SHA-256 over the kind and all data."""
        digest = sha256(self.kind.encode())
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{f.name} {value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
            else:
                digest.update(f"{f.name} {getattr(value, 'content_hash', value)!r}".encode())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.content_hash == getattr(other, "content_hash", None)

    def __hash__(self) -> int:
        return hash(self.content_hash)


@dataclass(frozen=True, eq=False)
class InstanceProblem(Problem):
    """A problem whose data are an instance; a subclass says of which model."""

    instance: AnyInstance

    def __post_init__(self) -> None:
        self._check(self.instance)

    @property
    @override
    def users(self) -> int:
        return self.instance.users

    @property
    @override
    def max_clusters(self) -> int:
        return self.instance.max_clusters


def labels_of(decision: Decision, users: int, max_clusters: int) -> tuple[IntArray | None, list[str]]:
    """Return a decision's labels, shape (N,), or None and what is wrong with them."""
    labels = decision.clusters
    if labels is None:
        return None, [malformed("clusters", users)]
    if labels.min() < 0 or labels.max() >= max_clusters:
        return None, [f"clusters: labels must be 0 .. {max_clusters - 1}"]
    return labels, []
