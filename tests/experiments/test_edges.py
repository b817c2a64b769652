from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from hisopt import Decision, Limits, Problem, SolverResult, Termination
from hisopt.experiments.campaigns import brute_force, edge_instances, edges
from hisopt.experiments.campaigns.brute_force import TooLarge
from hisopt.instances.files import load
from hisopt.problems import PROBLEMS, Allocation, Joint
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits(time_s=3)
INSTANCES = {"clustering": 3, "allocation": 12, "joint": 10, "full": 5, "steps": 15}  # of each family
CELLS = [(kind, family) for kind in PROBLEMS for family in edge_instances.families(kind)]


@pytest.mark.parametrize(("kind", "family"), CELLS, ids=lambda part: str(part))
def test_no_solver_is_wrong_at_an_edge(kind: str, family: str) -> None:
    for criterion, whole in edge_instances.variants(kind):
        cell = edges.Cell(kind, criterion, whole, family, LIMITS)
        tally = edges.examine(cell, range(INSTANCES[kind]))
        assert tally.instances == INSTANCES[kind]
        assert tally.enumerated > 0
        assert not any(tally.count(what) for what in edges.SERIOUS), edges.describe(cell, tally)


def test_large_clusters_that_cannot_afford_one_sm_stay_idle() -> None:
    """Whole SMs only: with real ones such a cluster works, so arguments for real SMs must not be used."""
    cell = edges.Cell("joint", None, True, "one_sm_each", LIMITS)
    tally = edges.examine(cell, range(60, 110))
    assert not tally.offending, edges.describe(cell, tally)


def naive(problem: Problem) -> float | None:
    """Every combination of plans and splits of SMs, each scored by itself."""
    instance, best = problem.instance, None
    pairs, budget = instance.steps.pairs(), int(instance.sm_budget)
    splits = [s for s in product(range(budget + 1), repeat=instance.max_clusters) if sum(s) <= budget]
    for plan in product(pairs, repeat=instance.users):
        x, y = np.array(plan).T
        for split in splits:
            decision = Decision.of_steps(instance.steps.total, x, y, np.array(split, dtype=float), instance.clusters)
            value, feasible = brute_force.score(problem, decision)
            if feasible and value is not None and (best is None or value > best):
                best = value
    return best


@pytest.mark.parametrize("seed", range(6))
def test_enumeration_by_loads_equals_enumeration_of_everything(seed: int) -> None:
    problem = next(
        p
        for family in ("plain", "forced_work", "few_sms")
        for s in range(seed * 20, seed * 20 + 20)
        if (p := edge_instances.draw("joint", None, True, family, s)).instance.users <= 2
        and p.instance.sm_budget <= 6
        and len(p.instance.steps.pairs()) <= 9
    )
    found, wanted = brute_force.optimum(problem).value, naive(problem)
    assert (found is None) == (wanted is None)
    assert found is None or found == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_the_enumerated_optimum_scores_what_it_says(kind: str) -> None:
    for criterion, whole in edge_instances.variants(kind):
        for family in edge_instances.families(kind):
            for seed in range(4):
                problem = edge_instances.draw(kind, criterion, whole, family, seed)
                try:
                    best = brute_force.optimum(problem)
                except TooLarge:
                    continue
                if best.decision is None:
                    continue
                value, feasible = brute_force.score(problem, best.decision)
                assert feasible, (family, seed)
                assert value == pytest.approx(best.value, rel=1e-9, abs=1e-9), (family, seed)


def test_allocation_by_hand() -> None:
    """Costs 1 and 4 on three SMs: (1 + 2)^2 / 3 with real ones, 1 / 1 + 4 / 2 with whole ones."""
    drawn = edge_instances.draw("allocation", None, True, "plain", 0).instance
    one = drawn.edge.replace(sms=3.0)
    instance = drawn.replace(
        users=5, max_clusters=2, clusters=[0, 1, 1, 1, 1], embeddings=None, similarity=None, edge=one,
        devices=drawn.devices.replace(sms=1.0), weights=drawn.weights.replace(delay=1.0, energy=0.0),
        steps=drawn.steps.replace(total=1, common_max=1, edge_min=0, edge_max=0, device_min=0, device_max=1),
        given_common=[1, 1, 0, 0, 0], given_edge=[0] * 5, cluster_size_max=None,
    )  # fmt: skip
    assert brute_force.optimum(Allocation(instance)).value == pytest.approx(3.0)
    assert brute_force.optimum(Allocation(instance, whole_sms=True)).value == pytest.approx(3.0)
    scarce = Allocation(instance.replace(edge=one.replace(sms=1.0)), whole_sms=True)
    assert brute_force.optimum(scarce).value is None


@dataclass(frozen=True)
class Liar(Solver[Joint]):
    problems = (Joint,)
    guarantee = Guarantee.EXACT
    name = "liar"
    how: str = ""

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        best = brute_force.optimum(problem)
        assert best.value is not None and best.decision is not None
        if self.how == "bound":
            return SolverResult(Termination.TIME_LIMIT, None, best.value - 1)
        if self.how == "infeasible":
            return SolverResult(Termination.INFEASIBLE)
        if self.how == "optimal":
            x = np.zeros(problem.instance.users, dtype=np.int64)
            worse = Decision.of_steps(problem.instance.steps.total, x, x, np.zeros(problem.instance.max_clusters))
            value = brute_force.score(problem, worse)[0]
            return SolverResult(Termination.OPTIMAL, worse, value)
        if self.how == "crash":
            raise IndexError("as planned")
        if self.how == "violation":
            return SolverResult(Termination.COMPLETED, Decision(None, *([best.decision.steps_common] * 3), sms=None))
        while True:
            if self.how == "sleep":
                signal.sigtimedwait([], 0.01)


@pytest.mark.parametrize(
    ("how", "what", "says"),
    [
        ("bound", "contradiction", "but enumeration has"),
        ("infeasible", "contradiction", "claims infeasible"),
        ("optimal", "contradiction", "optimal, enumeration has"),
        ("crash", "crash", "IndexError: as planned"),
        ("violation", "violation", "sms: must be"),
        ("hang", "hang", "still running"),
        ("sleep", "hang", "still running"),
    ],
)
def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, how: str, what: str, says: str) -> None:
    chosen = type("Chosen", (Liar,), {"how": how, "__init__": lambda self: None})
    monkeypatch.setattr(edges, "registered", lambda kind: [chosen()])
    monkeypatch.setattr(edges, "GRACE_S", 0.0)
    monkeypatch.setattr(edges, "_PATIENT", 1.0 if how == "sleep" else 1e3)
    cell = edges.Cell("joint", None, False, "useless_devices", Limits(time_s=0.2))
    seed = next(s for s in range(20) if edge_instances.draw("joint", None, False, cell.family, s).instance.users < 5)
    tally = edges.examine(cell, range(seed, seed + 1))
    assert tally.count(what) == 1, tally.offending
    assert any(says in finding.text for _, found in tally.offending for finding in found)


def test_offending_instances_are_saved_with_their_seed(tmp_path: Path) -> None:
    cell = edges.Cell("full", None, True, "antipodal", LIMITS)
    edges.save(tmp_path, cell, 7, [edges.Finding("crash", "some", "IndexError")])
    record: dict[str, Any] = json.loads((tmp_path / "findings.jsonl").read_text())
    assert record["seed"] == 7
    assert record["found"] == [{"what": "crash", "solver": "some", "text": "IndexError"}]
    assert load(tmp_path / record["instance"]) == edge_instances.draw("full", None, True, "antipodal", 7).instance


def test_the_program_reports_each_family(tmp_path: Path) -> None:
    arguments = ["--problem", "steps", "--family", "one_user", "--family", "binding_z", "--instances", "6", "--jobs", "1",
                 "--in-process", "--slow-rate", "0", "--save", str(tmp_path), "--records", str(tmp_path / "kept")]  # fmt: skip
    done = CliRunner().invoke(edges.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "steps, one_user" in done.output
    assert "6 instances, 6 enumerated" in done.output
    assert "0 contradictions, 0 crashes, 0 hangs" in done.output
    kept = sorted((tmp_path / "kept").iterdir())
    assert len(kept) == 2
    record = json.loads(kept[0].read_text())
    finding = {"what": "unproven", "solver": "some", "text": "as recorded"}
    record |= {"found": [["unproven", "some", 1]], "offending": [[0, [finding]]]}
    kept[0].write_text(json.dumps(record))
    again = CliRunner().invoke(edges.main, arguments, catch_exceptions=False)
    assert "1 x unproven: some: seed 0: as recorded" in again.output
    assert "6 instances, 6 enumerated" in again.output
