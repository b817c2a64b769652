"""A problem: what is to be decided for an instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hisopt.errors import InputError
from hisopt.instances import IccInstance, Instance

Kind = Literal["clustering", "allocation", "joint", "full", "steps"]
Criterion = Literal["mean", "centroid", "sum"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
WITH_SMS = ("allocation", "joint", "full")


@dataclass(frozen=True)
class Problem:
    """A kind of problem on an instance.

    Attributes
    ----------
    kind
        ``clustering`` (P_I), ``allocation`` (P_II^B: SMs, given clusters and steps), ``joint`` (P_II: steps and SMs,
        given clusters), ``full`` (P_I and P_II), ``steps`` (the ICC model).
    instance
        The data.
    criterion
        For clustering: ``mean``, ``centroid`` or ``sum``.
    integer_sms
        Whether SMs must be whole numbers.
    """

    kind: Kind
    instance: Instance | IccInstance
    criterion: Criterion | None = None
    integer_sms: bool = False

    def __post_init__(self) -> None:
        instance = self.instance
        if self.kind not in KINDS:
            raise InputError(f"problem {self.kind!r}: must be one of {', '.join(KINDS)}")
        if (self.kind == "clustering") != (self.criterion is not None) or (
            self.criterion is not None and self.criterion not in CRITERIA
        ):
            raise InputError(
                f"criterion {self.criterion!r}: clustering takes one of {', '.join(CRITERIA)}, others none"
            )
        if self.integer_sms and self.kind not in WITH_SMS:
            raise InputError(f"problem {self.kind}: has no SMs")
        if (self.kind == "steps") != isinstance(instance, IccInstance) and self.kind != "clustering":
            raise InputError(f"problem {self.kind}: not defined for an instance of the model {type(instance).model!r}")
        for name in missing_fields(self.kind, instance):
            raise InputError(f"{name}: missing, and the problem {self.kind} needs it")

    @property
    def maximise(self) -> bool:
        """Whether larger objectives are better; only ``allocation`` is a minimisation."""
        return self.kind != "allocation"

    @property
    def label(self) -> str:
        """Name for a reader, such as 'clustering, mean' or 'joint, integer SMs'."""
        extra = self.criterion or ("integer SMs" if self.integer_sms else "")
        return f"{self.kind}, {extra}" if extra else self.kind

    @property
    def his(self) -> Instance:
        """The instance, known to be of the journal model."""
        assert isinstance(self.instance, Instance)
        return self.instance

    @property
    def icc(self) -> IccInstance:
        """The instance, known to be of the ICC model."""
        assert isinstance(self.instance, IccInstance)
        return self.instance


def missing_fields(kind: Kind, instance: Instance | IccInstance) -> list[str]:
    """Return the optional fields that a kind of problem needs and the instance lacks."""
    needed = []
    if kind in ("clustering", "full") and instance.embeddings is None:
        needed.append("embeddings")
    if kind in ("allocation", "joint", "steps") and instance.clusters is None:
        needed.append("clusters")
    if kind in ("joint", "steps") and instance.similarity is None and instance.embeddings is None:
        needed.append("similarity")
    if kind == "allocation" and isinstance(instance, Instance):
        needed += [f for f in ("given_common", "given_edge") if getattr(instance, f) is None]
    return needed
