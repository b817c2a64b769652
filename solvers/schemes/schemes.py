"""The schemes that the papers compare, from prompts and embeddings to steps and SMs on the same instance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

from hisopt.equations import executed
from hisopt.errors import InputError
from hisopt.instances import IccInstance, Instance, PublicPrompt, QualityTable
from hisopt.problems import Joint, Steps
from hisopt.problems.kept import KeptJoint
from hisopt.problems.split import SplitJoint
from hisopt.result import Limits, Termination
from hisopt.solvers.registry import parse
from hisopt.solvers.schemes.groups import extracted_similarity, group, member_similarity
from hisopt.solvers.schemes.phases import KeptExact, SplitExact

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.decision import Decision
    from hisopt.problems import Evaluation
    from hisopt.solvers.base import Solver

SchemeProblem = Joint | KeptJoint | SplitJoint | Steps
S = TypeVar("S", bound=Instance | IccInstance)
__all__ = [
    "SCHEMES", "Scheme", "SchemeProblem", "SchemeResult", "executed", "scheme_instance", "scheme_of", "scheme_problem",
    "scheme_solver", "solve_scheme",
]  # fmt: skip
Groups = Literal["given", "hac", "entity", "one", "own"]
Public = Literal["ideal", "affine", "medoid", "extracted", "random"]
Phase = Literal["shared", "none", "split", "kept"]


@dataclass(frozen=True)
class Scheme:
    """How users are grouped and what they share.

    Attributes
    ----------
    name, title
        The name on the command line, and what the papers call it.
    groups
        ``hac`` (M clusters), ``entity`` (same main entity), ``one``, ``own`` (each user alone), or ``given`` (the
        instance's clusters).
    public
        A rule of `PublicPrompt`, ``extracted`` (from the members' words), or ``random`` (a random member's prompt).
    modules
        Whether quality is that with SIM and NPI.
    phase
        ``shared`` (the server runs a cluster's common steps once), ``none`` (x = 0, every user is its own public prompt),
        ``split`` (x is the same number of steps for all) or ``kept`` (the common steps were kept from before: `KeptJoint`).
    split
        The number of common steps of the phase ``split``.
    """

    name: str
    title: str
    groups: Groups
    public: Public
    modules: bool
    phase: Phase = "shared"
    split: int = 10

    @property
    def random(self) -> bool:
        """Whether a draw of random members decides the public prompts."""
        return self.public == "random" and self.phase != "none"

    def replace(self, **changes: Any) -> Scheme:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("his", "HIS, SemCT", "hac", "ideal", True),
        Scheme("hid", "HID", "entity", "ideal", False),
        Scheme("ppgfis", "PPGFIS, SFIF", "entity", "random", False),
        Scheme("cfis", "GFIS, CFIS, CFIF", "one", "random", False),
        # IIS has no clusters of its own, yet the server's SMs go to clusters: M of HAC, or each user for itself
        Scheme("iis", "IIS, CLIF; M clusters", "hac", "ideal", False, "none"),
        Scheme("iis-alone", "IIS, CLIF; M = N", "own", "ideal", False, "none"),
        Scheme("uniform", "uniform sharing", "hac", "ideal", True, "split"),
        Scheme("cached", "cached prefixes", "hac", "ideal", True, "kept"),
    )
}


@dataclass(frozen=True)
class SchemeResult:
    """A scheme's problem, its decision, how the problem scores it, and the work that is executed.

    ``proven`` says whether the decision is a proven optimum of the scheme's problem, ``bound`` is the solver's.
    """

    scheme: Scheme
    problem: SchemeProblem
    decision: Decision
    evaluation: Evaluation
    proven: bool
    bound: float | None
    steps: int
    tflop: float

    @property
    def utility(self) -> float:
        """The objective, known to be there; ValueError where the decision has none."""
        if self.evaluation.objective is None:
            raise ValueError(f"{self.scheme.name}: {'; '.join(self.evaluation.violations)}")
        return self.evaluation.objective

    @property
    def quality(self) -> float:
        """sum_n Q_n."""
        return self.evaluation.parts["quality"]

    @property
    def delay_s(self) -> float:
        """sum_n T_n in s."""
        return sum(value for name, value in self.evaluation.parts.items() if name.startswith("delay"))

    @property
    def energy_j(self) -> float:
        """sum_m E_m + sum_n E_n in J."""
        return sum(value for name, value in self.evaluation.parts.items() if name.startswith("energy"))


def scheme_of(name: str | Scheme) -> Scheme:
    """Return a scheme by name; raise `InputError` for an unknown one."""
    if isinstance(name, Scheme):
        return name
    if name not in SCHEMES:
        raise InputError(f"scheme {name!r}: unknown; known are {', '.join(SCHEMES)}")
    return SCHEMES[name]


def scheme_instance(instance: S, name: str | Scheme, seed: int = 0, similarity: FloatArray | None = None) -> S:
    """Return the instance with a scheme's clusters, similarities, quality table and step limits.

    Parameters
    ----------
    instance
        Users with embeddings, or with clusters and similarities where the scheme takes those as given.
    name
        A name of `SCHEMES`, or a `Scheme`.
    seed
        Draws the random members.
    similarity
        phi_n, shape (N,), in place of the scheme's: to compare schemes at the same similarities.

    Quality is the published table with or without the modules. Raises `InputError` for an unknown scheme, and where
    embeddings, or the prompts that entities come from, are missing.
    """
    scheme = scheme_of(name)
    if instance.embeddings is None and (similarity is None or scheme.groups == "hac"):
        raise InputError(f"embeddings: missing, and the scheme {scheme.name} needs them")
    try:
        labels = group(instance, scheme.groups)
    except InputError as error:
        raise InputError(f"scheme {scheme.name}: {error}") from None
    changes: dict[str, Any] = {
        "clusters": labels, "max_clusters": int(labels.max()) + 1, "similarity": similarity,
        "cluster_size_min": 1, "cluster_size_max": None, "quality": QualityTable.published(modules=scheme.modules),
    }  # fmt: skip
    if isinstance(instance, Instance):
        changes |= {"given_common": None, "given_edge": None}
    if scheme.phase == "none":
        changes |= {"similarity": np.ones(instance.users), "steps": instance.steps.replace(common_max=0)}
    elif similarity is None:
        changes |= _public(instance, scheme, labels, seed)
    return cast("S", instance.replace(**changes))


def _public(instance: Instance | IccInstance, scheme: Scheme, labels: Any, seed: int) -> dict[str, Any]:
    """Return what a scheme's public prompts change: the rule, or the similarities themselves."""
    if scheme.public == "random":
        return {"similarity": member_similarity(instance.vectors, labels, seed)}
    if scheme.public == "extracted":
        return {"similarity": extracted_similarity(instance.prompts, instance.vectors, labels)}
    if scheme.public == "affine" and instance.public_prompt.rule == "affine":
        return {}
    return {"public_prompt": PublicPrompt(rule=scheme.public)}


def scheme_problem(
    instance: Instance | IccInstance, name: str | Scheme, seed: int = 0, similarity: FloatArray | None = None
) -> SchemeProblem:
    """Return the problem that a scheme poses on an instance, see `scheme_instance`; that of the ICC model is `Steps`."""
    scheme = scheme_of(name)
    own = scheme_instance(instance, scheme, seed, similarity)
    if isinstance(own, IccInstance):
        if scheme.phase in ("split", "kept"):
            raise InputError(f"scheme {scheme.name}: is not defined for the ICC model")
        return Steps(own)
    if scheme.phase == "kept":
        return KeptJoint(own)
    return SplitJoint(own, split=scheme.split) if scheme.phase == "split" else Joint(own)


def scheme_solver(scheme: Scheme, problem: SchemeProblem, name: str | None = None) -> Solver[Any]:
    """Return a solver of a scheme's problem, by default the exact one; raise `InputError` where it cannot be had.

    ``name`` is another solver of the problem `joint` or `steps`, such as ``learned-prices``; fixed splits and kept phases
    have the exact one alone.
    """
    if isinstance(problem, (KeptJoint, SplitJoint)):
        if name not in (None, "exact"):
            raise InputError(f"scheme {scheme.name}: has the exact solver alone, not {name}")
        return KeptExact() if isinstance(problem, KeptJoint) else SplitExact()
    name = name or ("enumeration" if isinstance(problem, Steps) else "exact")
    chosen = parse(name, problem.kind)
    if chosen is None or not chosen.serves(problem):
        raise InputError(f"scheme {scheme.name}: no solver {name!r} for its problem {problem.kind}")
    if reason := chosen.unavailable():
        raise InputError(f"scheme {scheme.name}: {name} {reason}")
    return chosen


def solve_scheme(
    instance: Instance | IccInstance,
    name: str | Scheme,
    seed: int = 0,
    limits: Limits | None = None,
    *,
    solver: str | None = None,
    similarity: FloatArray | None = None,
) -> SchemeResult:
    """Return a scheme's steps and SMs, by default the best: a proven optimum, or what the limits (60 s) allow.

    It is solved in this process; ``solver`` as in `scheme_solver`. Raises `InputError` where that solver gives no decision.
    """
    scheme = scheme_of(name)
    problem = scheme_problem(instance, scheme, seed, similarity)
    result = scheme_solver(scheme, problem, solver).solve(problem, limits or Limits(60.0))
    if result.decision is None:
        raise InputError(f"scheme {scheme.name}: {solver or 'exact'}: {result.message or 'no decision'}")
    steps, flop = executed(problem.instance, result.decision, kept=scheme.phase == "kept")
    proven = result.termination is Termination.OPTIMAL
    evaluation = problem.evaluate(result.decision)
    return SchemeResult(scheme, problem, result.decision, evaluation, proven, result.bound, steps, flop / 1e12)
