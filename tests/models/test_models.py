"""Every declarative model says at random points what the evaluation says, and reads back what was put in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo
import pytest

from hisopt import Limits, Problem, Termination
from hisopt.equations import optimal_sms, work_costs
from hisopt.errors import InputError
from hisopt.experiments.campaigns.random_instances import draw_decision, draw_instance, draw_problems
from hisopt.models import export, full, meg
from hisopt.models import steps as icc
from hisopt.models.allocation import conic as allocation_conic
from hisopt.models.allocation import natural as allocation
from hisopt.models.clustering import assignment, pairs, peng_wei
from hisopt.models.joint import milp as joint_milp
from hisopt.models.joint import natural as joint
from hisopt.problems import Allocation, Clustering, Full, Joint, problem_of
from hisopt.solvers.allocation.closed_form import ClosedForm
from hisopt.solvers.allocation.conic import CvxpyClarabel, CvxpyScs
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.solvers.clustering.sdp import PengWeiSdp
from hisopt.solvers.joint.exact import JointExact
from hisopt.text.corpus import unit_rows

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hisopt.instances import Instance
    from hisopt.solvers.base import Solver


def forms(problem: Problem) -> list[ModuleType]:
    if problem.kind == "clustering":
        return [assignment] if problem.criterion == "centroid" else [assignment, pairs]
    if problem.kind == "full":
        return [full] if problem.instance.public_prompt.rule != "medoid" else []
    if problem.kind == "joint":
        return [joint] if problem.whole_sms else [joint, joint_milp]
    return {"allocation": [allocation], "steps": [icc], "meg": [meg]}[problem.kind]


def violations(model: pyo.ConcreteModel) -> list[str]:
    faults = []
    for constraint in model.component_data_objects(pyo.Constraint, active=True):
        body = pyo.value(constraint.body)
        low, high = pyo.value(constraint.lower), pyo.value(constraint.upper)
        room = 1e-9 * max(1.0, abs(body))
        if (low is not None and body < low - room) or (high is not None and body > high + room):
            faults.append(f"{constraint.name}: {low} <= {body} <= {high}")
    for variable in model.component_data_objects(pyo.Var):
        value = variable.value
        if value is None or (variable.is_integer() and value != round(value)):
            faults.append(f"{variable.name} is {value}")
        elif not (variable.lb or -np.inf) - 1e-9 <= value <= (np.inf if variable.ub is None else variable.ub) + 1e-9:
            faults.append(f"{variable.name} is {value}, not in [{variable.lb}, {variable.ub}]")
    return faults


@pytest.mark.parametrize("seed", range(25))
def test_models_agree_with_the_evaluation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    checked = 0
    for problem in draw_problems(seed):
        for form in forms(problem):
            decision = draw_decision(rng, problem)
            if not problem.evaluate(decision).feasible:  # a random partition may break limits on sizes
                continue
            model = form.build(problem)
            if form is joint_milp:  # it takes the SMs to be those of Theorem 1
                common, steps_edge = decision.steps_common, decision.steps_edge
                assert common is not None
                assert steps_edge is not None
                sms = optimal_sms(work_costs(problem.instance, common, steps_edge), problem.instance.sm_budget)
                decision = type(decision)(decision.clusters, common, steps_edge, decision.steps_device, sms)
            form.insert(model, problem, decision)
            expected = problem.evaluate(decision).objective
            faults = [f for f in violations(model) if not f.startswith("cost")]  # a bound that holds at the optimum
            assert not faults, (problem.label, form.__name__)
            assert pyo.value(model.value) == pytest.approx(expected, rel=1e-9, abs=1e-11), form.__name__
            again = form.extract(model, problem)
            if form in (joint, full, joint_milp) and not problem.whole_sms:
                assert (again.steps_edge == decision.steps_edge).all()
                assert (again.steps_common == decision.steps_common).all()
                assert problem.evaluate(again).objective >= expected - 1e-12
            elif form is allocation and not problem.whole_sms:
                assert problem.evaluate(again).objective <= expected + 1e-12  # unused SMs are spent
            else:
                assert problem.evaluate(again).objective == pytest.approx(expected, rel=1e-12, abs=1e-12)
            checked += 1
    assert checked >= 6


@pytest.mark.parametrize("seed", range(10))
def test_conic_allocation_agrees_with_the_evaluation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, 6, 3)
    problem = Allocation(instance)
    if not work_costs(problem.instance, problem.instance.given_common, problem.instance.given_edge).any():  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="nothing to allocate"):
            allocation_conic.build(problem)
        return
    model, decision = allocation_conic.build(problem), draw_decision(rng, problem)
    allocation_conic.insert(model, problem, decision)
    assert model.program.is_dcp(dpp=True)
    assert all(constraint.value() for constraint in model.program.constraints)
    assert model.program.objective.value * model.scale == pytest.approx(problem.evaluate(decision).objective)


@pytest.mark.parametrize("seed", range(10))
def test_every_partition_is_feasible_in_the_relaxation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = Clustering.of(draw_instance(rng, 7, 3).replace(cluster_size_min=1, cluster_size_max=None), "mean")
    model, decision = peng_wei.build(problem), draw_decision(rng, problem)
    peng_wei.insert(model, problem, decision)
    expected = problem.evaluate(decision).objective
    assert all(constraint.value(tolerance=1e-9) for constraint in model.program.constraints)
    assert model.program.objective.value * model.unit == pytest.approx(expected)
    for _ in range(20):  # the bound holds for any multipliers at all
        rows, slack = rng.normal(size=7), rng.normal(size=(7, 7))
        assert peng_wei.safe_bound(problem.similarity_matrix, rows, slack, 3) >= expected


@pytest.mark.parametrize("length", [1e-8, 1e-4, 1e3, 1e7])
def test_the_relaxation_bounds_points_of_any_length_as_well(length: float) -> None:
    points = unit_rows(np.random.default_rng(5).normal(size=(8, 3)))
    for criterion in ("mean", "centroid"):
        solver, power = PengWeiSdp(), 2 if criterion == "mean" else 1
        of_one = solver.solve(Clustering(points, 3, criterion), Limits(60)).bound
        found = solver.solve(Clustering(length * points, 3, criterion), Limits(60)).bound
        optimum = Partitions().solve(Clustering(length * points, 3, criterion), Limits(60)).bound
        assert of_one is not None
        assert found == pytest.approx(of_one * length**power, rel=1e-5)
        assert found >= optimum * (1 - 1e-12)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_conic_programs_prove_allocations_in_any_unit(unit: float) -> None:
    drawn = draw_instance(np.random.default_rng(2), 6, 3)
    weights = drawn.weights.replace(delay=unit * drawn.weights.delay, energy=unit * drawn.weights.energy)
    problem = Allocation(drawn.replace(weights=weights))
    best = ClosedForm().solve(problem, Limits()).bound
    for solver in (CvxpyClarabel(), CvxpyScs()):
        found = solver.solve(problem, Limits(60))
        assert found.termination is Termination.OPTIMAL, found.message
        assert found.bound == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("suffix", [".lp", ".mps", ".nl"])
@pytest.mark.parametrize("kind", ["sum", "mean", "joint", "allocation"])
def test_exported_models_have_the_same_optimum_elsewhere(
    kind: str, suffix: str, small: Instance, tmp_path: Path
) -> None:
    import pyscipopt

    assert small.embeddings is not None
    few = np.arange(4)
    instance = small.replace(
        users=4,
        max_clusters=2,
        prompts=None,
        embeddings=small.embeddings[few],
        clusters=np.array([0, 0, 1, 1]),
        given_common=[3] * 4,
        given_edge=[2] * 4,
        devices=small.devices.replace(sms=small.devices.sms[few]),
        radio=small.radio.replace(gain=small.radio.gain[few]),
        steps=small.steps.replace(total=6, common_max=3, edge_max=2, device_min=1, device_max=6),
    )
    if kind in ("joint", "allocation"):
        problem = problem_of(kind, instance)  # type: ignore[arg-type]
        exact: Solver = JointExact() if kind == "joint" else ClosedForm()
    else:
        problem = Clustering.of(instance, kind)  # type: ignore[arg-type]
        exact = Partitions()
    expected = exact.solve(problem, Limits()).bound
    file = tmp_path / f"model{suffix}"
    export.write(problem, file)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == suffix] == [file.name]
    scip = pyscipopt.Model()
    scip.hideOutput()
    scip.readProblem(str(file))
    scip.setParams({"limits/time": 60, "timing/clocktype": 1})
    scip.optimize()
    assert scip.getStatus() == "optimal"
    found = scip.getObjVal()
    assert found == pytest.approx(expected, rel=1e-6)


def test_export_refuses_other_suffixes_and_rules(small: Instance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="suffix"):
        export.write(Joint(small), tmp_path / "model.txt")
    medoid = small.replace(public_prompt=small.public_prompt.replace(rule="medoid"))
    with pytest.raises(InputError, match="medoid"):
        export.write(Full(medoid), tmp_path / "model.lp")
    assert list(tmp_path.iterdir()) == []
