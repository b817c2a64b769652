"""In the full model phi is what the evaluation says also where embeddings cancel: held to enumeration, in SCIP and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo
import pytest

from hisopt import Decision, Instance, Limits, Termination
from hisopt.equations import rule_similarity
from hisopt.errors import InputError
from hisopt.experiments.campaigns import brute_force, edge_instances
from hisopt.instances import QualityTable
from hisopt.models import cancelling, export, full
from hisopt.problems import Full
from hisopt.solvers.full.natural import FullScip

if TYPE_CHECKING:
    from pathlib import Path

A, B = np.array([1.0, 2.0, 2.0]) / 3, np.array([2.0, -2.0, 1.0]) / 3


def circle(count: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(count) / count + 0.3
    return np.c_[np.cos(angle), np.sin(angle)]


def unit(rows: list[np.ndarray]) -> np.ndarray:
    return np.array([row / np.linalg.norm(row) for row in rows])


VECTORS = {
    "antipodal": np.array([A, -A]),
    "two pairs": np.array([A, -A, B, -B]),
    "twice the same pair": np.array([A, A, -A, -A]),
    "triangle": circle(3),
    "a pair and one beside": np.array([A, -A, B]),
    "no direction, sums of 1e-7": unit([A, -A + 1e-7 * B]),
    "no direction, two pairs": unit([A, -A + 1e-7 * B, B, -B + 1e-7 * A]),
    "directed, a sum of 1e-5": unit([A + 5e-6 * B, -A + 5e-6 * B]),
    "directed, a sum of 0.2": unit([A + 0.1 * B, -A + 0.1 * B]),
}


def posed(vectors: np.ndarray, clusters: int, least: int = 1, *, whole: bool = False) -> Full:
    """A problem that gains much from similarity, so that a free phi would be worth choosing."""
    rng = np.random.default_rng(3)
    draft = edge_instances.draft(rng, "full", whole, len(vectors), clusters)
    draft.vectors, draft.prompt, draft.sizes = vectors, {"rule": "ideal"}, (least, None)
    draft.limits = {"total": 4, "common_max": 3, "edge_max": 0, "device_min": 0, "device_max": 3}
    draft.weights, draft.device = {"quality": 5.0, "delay": 1.0, "energy": 0.0}, rng.uniform(0.5, 1.5, len(vectors))
    coefficients = [[0.1, -1.0, 2.0, 0.1], [0.3, -1.0, 2.0, 0.4], [0.5, -1.0, 1.0, 0.8]]
    draft.table = QualityTable(similarity=np.array([0.05, 0.4, 0.9]), coefficients=np.array(coefficients))
    instance = draft.build()
    assert isinstance(instance, Instance)
    return Full(instance, whole_sms=whole)


@pytest.mark.parametrize(
    ("name", "clusters"),
    [(name, 1) for name in VECTORS] + [(name, 2) for name, vectors in VECTORS.items() if len(vectors) < 4],
)
def test_scip_proves_the_enumerated_optimum_where_clusters_cancel(name: str, clusters: int) -> None:
    vectors = VECTORS[name]
    problem = posed(vectors, clusters, least=2 if len(vectors) == 4 else 1)
    best = brute_force.optimum(problem).value
    found = FullScip().solve(problem, Limits(time_s=60))
    assert found.termination is Termination.OPTIMAL, found.message
    assert found.decision is not None
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-6)
    assert found.bound == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("suffix", [".lp", ".mps", ".nl"])
@pytest.mark.parametrize("name", ["antipodal", "triangle", "no direction, sums of 1e-7", "directed, a sum of 0.2"])
def test_exported_models_know_no_free_similarity(name: str, suffix: str, tmp_path: Path) -> None:
    import pyscipopt

    problem = posed(VECTORS[name], 1)
    export.write(problem, tmp_path / f"model{suffix}")
    scip = pyscipopt.Model()
    scip.hideOutput()
    scip.readProblem(str(tmp_path / f"model{suffix}"))
    scip.setParams({"misc/allowstrongdualreds": False, "misc/allowweakdualreds": False})
    scip.setParams(
        {
            "separating/gomory/freq": -1,
            "separating/aggregation/freq": -1,
            "presolving/maxrounds": 0,
            "limits/time": 60,
            "timing/clocktype": 1,
        }
    )
    scip.optimize()
    assert scip.getStatus() == "optimal"
    assert scip.getObjVal() == pytest.approx(brute_force.optimum(problem).value, rel=1e-5)


@pytest.mark.parametrize("name", VECTORS)
def test_phi_of_a_given_partition_has_one_value(name: str) -> None:
    """With a partition fixed, the least and the largest phi that the model allows are the evaluation's."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    vectors = VECTORS[name]
    problem = posed(vectors, 1)
    labels = np.zeros(len(vectors), dtype=np.int64)
    told = rule_similarity(problem.instance, labels)
    for sense in (pyo.minimize, pyo.maximize):
        model = full.build(problem)
        model.value.deactivate()
        model.phi_only = pyo.Objective(expr=model.phi[0], sense=sense)
        SolverFactory("scip_direct").solve(model, solver_options={"display/verblevel": 0, "numerics/feastol": 1e-8})
        assert pyo.value(model.phi[0]) == pytest.approx(told[0], abs=1e-6)


def test_decisions_with_cancelling_clusters_fit_the_model() -> None:
    for name, vectors in VECTORS.items():
        problem = posed(vectors, 1)
        users = len(vectors)
        steps = np.ones(users, dtype=np.int64)
        decision = Decision.of_steps(4, steps, steps - 1, np.array([problem.instance.edge.sms]), steps - 1)
        model = full.build(problem)
        full.insert(model, problem, decision)
        for constraint in model.component_data_objects(pyo.Constraint, active=True):
            body, low, high = (pyo.value(part) for part in (constraint.body, constraint.lower, constraint.upper))
            assert low is None or body >= low - 1e-9, (name, constraint.name)
            assert high is None or body <= high + 1e-9, (name, constraint.name)
        assert pyo.value(model.value) == pytest.approx(problem.evaluate(decision).objective, rel=1e-9), name


def test_every_cancelling_cluster_is_listed_and_nothing_else() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        vectors = np.concatenate([circle(int(rng.integers(2, 6))), circle(3)])
        vectors = vectors[rng.integers(0, len(vectors), 7)] * rng.choice([-1.0, 1.0], (7, 1))
        least, most = int(rng.integers(1, 4)), int(rng.integers(4, 8))
        instance = posed(vectors, 3).instance.replace(cluster_size_min=least, cluster_size_max=most)
        found = {one.users for one in cancelling.cancelling(instance)}
        for mask in range(1, 1 << 7):
            users = tuple(n for n in range(7) if mask >> n & 1)
            short = np.linalg.norm(vectors[list(users)].sum(axis=0)) < cancelling.SHORT
            assert (users in found) == (short and max(least, 2) <= len(users) <= most)


def test_too_much_cancelling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="16 users nearly cancel"):
        export.write(posed(np.array([A, -A] * 8), 3), tmp_path / "model.lp")
    with pytest.raises(InputError, match=r"cancel in \d+ clusters"):
        export.write(posed(np.array([A, -A] * 7), 3), tmp_path / "model.lp")
    assert list(tmp_path.iterdir()) == []
