"""Solutions that HiGHS, SCIP, Gurobi and CBC wrote for exported models lead back to decisions, and lies are found."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import highspy
import pyscipopt
import pytest

from hisopt import PRESETS
from hisopt.commands.check import CheckOptions, _check
from hisopt.errors import InputError
from hisopt.instances.files import save
from hisopt.instances.scenario import MEG_PRESETS
from hisopt.models.export import write
from hisopt.models.readback import decision_of, load_map
from hisopt.models.solution_files import read
from hisopt.problems import Clustering, Joint, Meg, Problem, Steps, problem_of
from hisopt.solvers.clustering.hac import clustered

if TYPE_CHECKING:
    from pathlib import Path

SMALL = clustered(PRESETS["small"].replace(users=3, max_clusters=2).sample(0))
ICC = clustered(PRESETS["icc"].replace(users=3, max_clusters=2).sample(0))
WHOLE = problem_of("joint", SMALL, whole_sms=True)


def by_highs(model: Path, target: Path) -> float:
    highs = highspy.Highs()
    highs.silent()
    highs.readModel(str(model))
    highs.run()
    highs.writeSolution(str(target), 0)
    return float(highs.getObjectiveValue())


def by_scip(model: Path, target: Path) -> float:
    scip = pyscipopt.Model()
    scip.hideOutput()
    scip.readProblem(str(model))
    scip.setParams({"misc/allowstrongdualreds": False, "misc/allowweakdualreds": False, "limits/gap": 1e-7})
    scip.optimize()
    scip.writeBestSol(str(target))
    # as SCIP's shell has it above the same lines
    target.write_text(f"solution status: {scip.getStatus()} solution found\n{target.read_text()}")
    return float(scip.getObjVal())


def by_gurobi(model: Path, target: Path) -> float:
    gurobi = pytest.importorskip("gurobipy", reason="Gurobi writes its own format")
    try:
        environment = gurobi.Env(params={"OutputFlag": 0})
    except gurobi.GurobiError as error:
        pytest.skip(f"Gurobi's licence: {error}")
    found = gurobi.read(str(model), environment)
    found.optimize()
    found.write(str(target))
    return float(found.ObjVal)


def by_cbc(model: Path, target: Path) -> None:
    """By CBC where it is installed, else as it prints: the status with the objective, then index, name, value, reduced cost."""
    program = shutil.which("cbc")
    if program and model.suffix == ".mps":  # its reader of LP files takes none of Pyomo's headings
        command = [program, model, "-max", "-solve", "-solution", target]  # it passes over the file's OBJSENSE
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return
    found = read(model.with_suffix(".sol"))
    rows = [f"{i:7} {name:<24} {value:22.15g} {0:22}" for i, (name, value) in enumerate(found.values.items()) if value]
    target.write_text(f"Optimal - objective value {found.objective:.8f}\n" + "\n".join(rows) + "\n")


def led_back(problem: Problem, model: Path, solution: Path, claimed: float) -> None:
    """The decision in a solution is feasible, and worth what the solver says."""
    found = decision_of(problem, load_map(f"{model}.map.json"), read(solution), str(solution))
    assert found.faults == ()
    checked = problem.evaluate(found.decision)
    assert checked.feasible, checked.violations
    assert checked.objective == pytest.approx(claimed, rel=1e-5)
    assert found.objective == pytest.approx(claimed, rel=1e-5)
    assert read(solution).objective == pytest.approx(claimed, rel=1e-5)


LINEAR: dict[str, Problem] = {
    "mean": Clustering.of(SMALL, "mean"), "sum": Clustering.of(SMALL, "sum"), "steps": Steps(ICC), "meg": Meg(MEG_PRESETS["meg"].sample(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("suffix", [".lp", ".mps"])
def test_highs_and_cbc(name: str, suffix: str, tmp_path: Path) -> None:
    model, problem = tmp_path / f"model{suffix}", LINEAR[name]
    write(problem, model)
    claimed = by_highs(model, tmp_path / "model.sol")
    led_back(problem, model, tmp_path / "model.sol", claimed)
    by_cbc(model, tmp_path / "cbc.sol")
    assert read(tmp_path / "cbc.sol").program == "CBC"
    led_back(problem, model, tmp_path / "cbc.sol", claimed)


@pytest.mark.parametrize("suffix", [".lp", ".mps", ".nl"])
@pytest.mark.parametrize("problem", [Joint(SMALL), WHOLE, Clustering.of(SMALL, "centroid")], ids=lambda p: p.label)
def test_scip(problem: Problem, suffix: str, tmp_path: Path) -> None:
    model = tmp_path / f"model{suffix}"
    write(problem, model)
    claimed = by_scip(model, tmp_path / "model.sol")
    assert read(tmp_path / "model.sol").program == "SCIP"
    led_back(problem, model, tmp_path / "model.sol", claimed)


def test_gurobi(tmp_path: Path) -> None:
    model, problem = (
        tmp_path / "model.mps",
        problem_of("allocation", SMALL.replace(given_common=[1] * 3, given_edge=[1] * 3)),
    )
    write(problem, model)
    claimed = by_gurobi(model, tmp_path / "model.sol")
    assert read(tmp_path / "model.sol").program == "Gurobi"
    led_back(problem, model, tmp_path / "model.sol", claimed)


def check(capsys: pytest.CaptureFixture[str], *files: Path, **options: Any) -> tuple[int, dict[str, Any]]:
    code = _check(CheckOptions(*map(str, files), style="json", **options))
    return code, json.loads(capsys.readouterr().out)


def test_check_reads_a_solution_and_finds_what_is_wrong_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance, model, solution = tmp_path / "i.json", tmp_path / "model.lp", tmp_path / "model.sol"
    save(ICC, instance)
    write(Steps(ICC), model)
    by_highs(model, solution)
    code, told = check(capsys, instance, solution, solvers=("enumeration",))
    assert (code, told["program"], told["wrong"]) == (0, "HiGHS", [])
    assert told["gap"] == pytest.approx(0, abs=1e-9)
    assert told["objective"] == pytest.approx(told["claimed"], rel=1e-6)
    text = solution.read_text()
    name = next(n for n, v in read(solution).values.items() if n.startswith("steps_edge") and v > 0)
    half = text.replace(f"\n{name} ", f"\n{name} 0.5").replace(
        "0.5" + text.split(f"\n{name} ")[1].split("\n")[0], "0.5", 1
    )
    solution.write_text(half)
    code, told = check(capsys, instance, solution)
    assert code == 1 and any("is 0.5, must be a whole number" in line for line in told["wrong"])
    claims = "\n".join("Objective 12345" if line.startswith("Objective") else line for line in text.splitlines())
    solution.write_text(claims)
    code, told = check(capsys, instance, solution)
    assert code == 1 and any("the objective 12345 is claimed, its decision has" in line for line in told["wrong"])


SOLUTIONS = {
    "hello": "which no solution file of HiGHS, SCIP, Gurobi or CBC begins with",
    "": "is empty",
    "# Objective value = 1\nx one": "line 2: is 'one', must be a finite number",
    "# Objective value = 1\nx 1\nx 2": "line 3: x: stands in line 2, too",
    "# Objective value = 1\nx inf": "line 2: is 'inf', must be a finite number",
    "# Objective value = 1": "holds no solution",
    "Model status\nInfeasible\n\n# Primal solution values\nNone\n": "holds no solution: Infeasible",
    "Model status\nOptimal\n\n# Primal solution values\nFeasible\nObjective 1\n# Columns 3\nx 1\n# Rows 0\n": "fewer columns follow than the 3",
    "solution status: infeasible\nno solution available": "holds no solution: infeasible",
    "Infeasible - objective value 0.0": "holds no solution: Infeasible",
    "Stopped on time (no integer solution - continuous used) - objective value 5.5": "holds no solution: Stopped on time",
    "Optimal - objective value 1.0\n 0 x": "line 2: is '0 x', must be a name and a value",
    "# Objective value = 1\nstranger 1": "line 2: stranger: the model has no such variable",
}  # fmt: skip


@pytest.mark.parametrize("text", SOLUTIONS)
def test_what_is_no_solution_is_said_in_one_line(text: str, tmp_path: Path) -> None:
    write(Steps(ICC), tmp_path / "model.lp")
    (tmp_path / "model.sol").write_text(text)
    with pytest.raises(InputError) as caught:
        decision_of(Steps(ICC), load_map(tmp_path / "model.lp.map.json"), read(tmp_path / "model.sol"), "model.sol")
    assert SOLUTIONS[text] in str(caught.value) and "\n" not in str(caught.value)


def test_a_map_of_other_data_is_refused(tmp_path: Path) -> None:
    write(Steps(ICC), tmp_path / "model.lp")
    by_highs(tmp_path / "model.lp", tmp_path / "model.sol")
    other = Steps(clustered(PRESETS["icc"].replace(users=3, max_clusters=2).sample(1)))
    with pytest.raises(InputError, match="its map is of a model of other data"):
        decision_of(other, load_map(tmp_path / "model.lp.map.json"), read(tmp_path / "model.sol"), "model.sol")
    for text, reason in (("{", "not JSON"), ("{}", "is no map"), ('{"schema_version": 1}', "missing or malformed")):
        (tmp_path / "x.map.json").write_text(text)
        with pytest.raises(InputError, match=reason):
            load_map(tmp_path / "x.map.json")
