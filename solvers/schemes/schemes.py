"""The schemes that the papers compare, from prompts and embeddings to steps and SMs on the same instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.equations import cluster_work
from hisopt.errors import InputError
from hisopt.instances import Instance, PublicPrompt, QualityTable
from hisopt.problems import Evaluation, Joint
from hisopt.result import Limits, Termination
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.joint.exact import JointExact
from hisopt.text.entities import main_entity

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.decision import Decision


@dataclass(frozen=True)
class Scheme:
    """How users are grouped and what they share.

    Attributes
    ----------
    clusters
        ``hac`` (M clusters), ``entity`` (same main entity), ``one`` or ``own`` (each user alone).
    public
        ``ideal`` (the cluster's normalised mean) or ``member`` (a random member's prompt).
    modules
        Whether quality is that with SIM and NPI.
    sharing
        Whether there is a common phase; without one x = 0 and every user is its own public prompt.
    """

    clusters: str
    public: str
    modules: bool
    sharing: bool = True


SCHEMES: dict[str, Scheme] = {
    "his": Scheme("hac", "ideal", True),  # also SemCT
    "hid": Scheme("entity", "ideal", False),
    "ppgfis": Scheme("entity", "member", False),  # also SFIF
    "cfis": Scheme("one", "member", False),  # also GFIS, CFIF
    "iis": Scheme("hac", "ideal", False, sharing=False),  # also CLIF; SMs by M clusters
    "iis-alone": Scheme("own", "ideal", False, sharing=False),  # the same with M = N
}


@dataclass(frozen=True)
class SchemeResult:
    """A scheme's problem, its decision, how `Joint.evaluate` scores it, and the work that is executed."""

    problem: Joint
    decision: Decision
    evaluation: Evaluation
    proven: bool
    steps: int
    tflop: float


def scheme_instance(instance: Instance, name: str, seed: int = 0) -> Instance:
    """Return the instance with a scheme's clusters, similarities, quality table and step limits.

    Quality is the published table with or without the modules. ``seed`` draws the random members. Raises `InputError` for
    an unknown scheme, and where embeddings, or the prompts that entities come from, are missing.
    """
    if name not in SCHEMES:
        raise InputError(f"scheme {name!r}: unknown; known are {', '.join(SCHEMES)}")
    scheme = SCHEMES[name]
    if instance.embeddings is None:
        raise InputError(f"embeddings: missing, and the scheme {name} needs them")
    labels = _labels(instance, instance.embeddings, name)
    changes: dict[str, Any] = {
        "clusters": labels, "max_clusters": int(labels.max()) + 1, "similarity": None, "public_prompt": PublicPrompt(),
        "cluster_size_min": 1, "cluster_size_max": None, "quality": QualityTable.published(modules=scheme.modules),
    }  # fmt: skip
    if not scheme.sharing:
        changes |= {"similarity": np.ones(instance.users), "steps": instance.steps.replace(common_max=0)}
    elif scheme.public == "member":
        changes["similarity"] = member_similarity(instance.embeddings, labels, seed)
    return instance.replace(**changes)


def _labels(instance: Instance, embeddings: FloatArray, name: str) -> IntArray:
    rule = SCHEMES[name].clusters
    if rule == "hac":
        return average_linkage(embeddings, instance.max_clusters)
    if rule == "entity":
        if instance.prompts is None:
            raise InputError(f"prompts: missing, and the scheme {name} groups them by their main entity")
        return np.unique([main_entity(prompt) for prompt in instance.prompts], return_inverse=True)[1].astype(np.int64)
    return np.zeros(instance.users, dtype=np.int64) if rule == "one" else np.arange(instance.users)


def member_similarity(embeddings: FloatArray, clusters: IntArray, seed: int) -> FloatArray:
    """Similarity of users (embeddings (N, d) of norm 1) to a random member of their cluster; itself: 1. Shape (N,)."""
    rng = np.random.default_rng(seed)
    found = np.empty(len(clusters))
    for label in np.unique(clusters):
        members = np.flatnonzero(clusters == label)
        found[members] = embeddings[members] @ embeddings[rng.choice(members)]
    return np.clip(found, -1.0, 1.0)


def solve_scheme(instance: Instance, name: str, seed: int = 0, limits: Limits | None = None) -> SchemeResult:
    """Return a scheme's best steps and SMs, by the exact joint solver."""
    problem = Joint(scheme_instance(instance, name, seed))
    result = JointExact().solve(problem, limits or Limits(60.0))
    assert result.decision is not None
    steps, flop = executed(problem.instance, result.decision)
    proven = result.termination is Termination.OPTIMAL
    return SchemeResult(problem, result.decision, problem.evaluate(result.decision), proven, steps, flop / 1e12)


def executed(instance: Instance, decision: Decision) -> tuple[int, float]:
    """Return the denoising steps that are run, sum_m W_m + sum_n z_n, and their FLOP: a common phase counts once."""
    common, edge, device = decision.steps_common, decision.steps_edge, decision.steps_device
    assert instance.clusters is not None and common is not None and edge is not None and device is not None
    common_max, edge_sum = cluster_work(instance.clusters, instance.max_clusters, common, edge)
    served, left = int((common_max + edge_sum).sum()), int(device.sum())
    return served + left, served * instance.flop_edge + left * instance.flop_device
