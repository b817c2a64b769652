"""Every problem's files, read back by solvers that never saw the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import highspy
import numpy as np
import pyscipopt
import pytest

from hisopt import PRESETS, Instance, Limits, Problem
from hisopt.decision import Decision
from hisopt.errors import InputError
from hisopt.instances import PublicPrompt, StepLimits
from hisopt.models.export import SUFFIXES, form_of, write
from hisopt.problems import Allocation, Clustering, Full, Joint, Steps, problem_of
from hisopt.solvers.allocation.closed_form import ClosedForm
from hisopt.solvers.allocation.whole import IntegerAllocation
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.steps.enumeration import Enumeration

if TYPE_CHECKING:
    from pathlib import Path

STEPS = StepLimits(total=6, common_max=3, edge_max=2, device_max=6)
LINEAR = ("clustering, mean", "clustering, sum", "steps")


def _instance() -> Instance:
    instance = clustered(PRESETS["small"].replace(users=3, max_clusters=2, steps=STEPS).sample(0))
    assert isinstance(instance, Instance)
    return instance.replace(given_common=[1] * 3, given_edge=[1] * 3)


def _problems() -> list[Problem]:
    instance = _instance()
    icc = clustered(PRESETS["icc"].replace(users=3, max_clusters=2).sample(0))
    return [
        *(Clustering.of(instance, criterion) for criterion in ("mean", "centroid", "sum")),
        *(
            problem_of(kind, instance, whole_sms=whole)
            for kind in ("allocation", "joint", "full")
            for whole in (False, True)
        ),
        Steps(icc),
    ]


EXACT: dict[str, Any] = {
    "clustering, mean": Partitions, "clustering, centroid": Partitions, "clustering, sum": Partitions,
    "allocation": ClosedForm, "allocation, integer SMs": IntegerAllocation,
    "joint": JointExact, "joint, integer SMs": JointExactInteger,
    "full": Subsets, "steps": Enumeration,
}  # fmt: skip
PROBLEMS = {problem.label: problem for problem in _problems()}


def optimum(label: str) -> float:
    """The optimum by an algorithm that shares nothing with the models."""
    problem = PROBLEMS[label]
    if label not in EXACT:  # full with whole SMs: the two partitions' worth of whole joint problems
        return max(_given(problem, clusters) for clusters in ([0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]))
    decision = EXACT[label]().solve(problem, Limits()).decision
    objective = problem.evaluate(decision).objective
    assert objective is not None
    return objective


def _given(problem: Problem, clusters: list[int]) -> float:
    inner = Joint(problem.instance.replace(clusters=clusters), whole_sms=True)
    decision = JointExactInteger().solve(inner, Limits()).decision
    assert decision is not None
    return float(inner.evaluate(decision).objective or 0)


def by_scip(file: Path) -> tuple[float, dict[str, float]]:
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(str(file))
    # with these reductions, with presolving, Gomory cuts and those of aggregated rows, SCIP 10 cuts off optima of the full problem
    model.setParams({"misc/allowstrongdualreds": False, "misc/allowweakdualreds": False})
    model.setParams(
        {
            "separating/gomory/freq": -1,
            "separating/aggregation/freq": -1,
            "presolving/maxrounds": 0,
            "limits/time": 60,
            "timing/clocktype": 1,
        }
    )
    model.optimize()
    assert model.getStatus() == "optimal"
    return model.getObjVal(), {variable.name: model.getVal(variable) for variable in model.getVars()}


def by_highs(file: Path) -> float:
    model = highspy.Highs()
    model.silent()
    assert model.readModel(str(file)) == highspy.HighsStatus.kOk
    model.run()
    assert model.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(model.getObjectiveValue())


def by_gurobi(file: Path) -> float:
    gurobi = pytest.importorskip("gurobipy", reason="the second solver that reads quadratic constraints")
    try:
        environment = gurobi.Env(params={"OutputFlag": 0})
    except gurobi.GurobiError as error:
        pytest.skip(f"Gurobi's licence: {error}")
    model = gurobi.read(str(file), environment)
    for name in ("MIPGap", "FeasibilityTol", "BarConvTol", "BarQCPConvTol"):
        model.setParam(name, 1e-9)
    model.optimize()
    assert model.Status == gurobi.GRB.OPTIMAL
    return float(model.ObjVal)


@pytest.mark.parametrize("label", PROBLEMS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scip_reads_each_problem_in_each_format(label: str, suffix: str, tmp_path: Path) -> None:
    write(PROBLEMS[label], tmp_path / f"model{suffix}")
    found, _ = by_scip(tmp_path / f"model{suffix}")
    assert found == pytest.approx(optimum(label), rel=2e-6)


@pytest.mark.parametrize("label", PROBLEMS)
@pytest.mark.parametrize("suffix", [".lp", ".mps"])
def test_a_second_solver_reads_it_and_agrees(label: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"model{suffix}"
    write(PROBLEMS[label], file)
    found = by_highs(file) if label in LINEAR else by_gurobi(file)
    assert found == pytest.approx(optimum(label), rel=2e-6)


def test_names_beside_an_nl_file_lead_back_to_the_decision(tmp_path: Path) -> None:
    problem = PROBLEMS["joint"]
    write(problem, tmp_path / "model.nl")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.col",
        "model.nl",
        "model.nl.map.json",
        "model.row",
    ]
    objective, values = by_scip(tmp_path / "model.nl")
    names = (tmp_path / "model.col").read_text().split()
    assert set(names) <= set(values)
    users = range(problem.instance.users)
    common = [
        sum(x * round(values[f"chosen[{n},{x}]"]) for x in range(4) if f"chosen[{n},{x}]" in values) for n in users
    ]
    steps_edge = [round(values[f"steps_edge[{n}]"]) for n in users]
    sms = np.array([values[f"share[{m}]"] for m in range(2)]) * problem.instance.sm_budget / 1000
    decision = Decision.of_steps(STEPS.total, np.array(common), np.array(steps_edge), sms * (1 - 1e-9))
    found = problem.evaluate(decision)
    assert found.feasible, found.violations
    assert found.objective == pytest.approx(objective, rel=1e-5)


@pytest.mark.parametrize("label", PROBLEMS)
def test_no_solver_s_grammar_is_tried(label: str, tmp_path: Path) -> None:
    """What readers stumbled over: a blank before an exponent, and a column that only a quadratic term names."""
    write(PROBLEMS[label], tmp_path / "model.lp")
    assert " ^" not in (tmp_path / "model.lp").read_text()
    write(PROBLEMS[label], tmp_path / "model.mps")
    lines = (tmp_path / "model.mps").read_text().splitlines()
    declared = {line.split()[0] for line in lines[lines.index("COLUMNS") + 1 : lines.index("RHS")]}
    used, section = set(), ""
    for line in lines:
        section = line.split()[0] if not line.startswith(" ") else section
        if section in ("QCMATRIX", "QUADOBJ") and line.startswith(" "):
            used |= set(line.split()[:2])
    assert used <= declared


def test_what_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    instance = _instance()
    medoid = Full(instance.replace(public_prompt=PublicPrompt(rule="medoid")))
    idle = Allocation(instance.replace(given_common=[0] * 3, given_edge=[0] * 3))
    for problem, reason in ((medoid, "medoid"), (idle, "nothing to decide")):
        for suffix in SUFFIXES:
            with pytest.raises(InputError, match=reason) as caught:
                write(problem, tmp_path / f"model{suffix}")
            assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_form_that_a_format_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS["allocation"]
    build = form_of(problem).build

    def logarithmic(problem: Problem) -> Any:
        import pyomo.environ as pyo

        model = build(problem)
        model.curved = pyo.Constraint(expr=pyo.log(model.cost[0] + 1) >= 0)
        return model

    monkeypatch.setattr(form_of(problem), "build", logarithmic)
    for suffix in (".lp", ".mps"):
        with pytest.raises(InputError, match=f"allocation cannot be written as {suffix[1:]}: ") as caught:
            write(problem, tmp_path / f"model{suffix}")
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
