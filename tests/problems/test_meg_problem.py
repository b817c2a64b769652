"""MEG as a problem: policies through the door, what is said of bad ones, its files and its command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from hisopt import Decision, InputError, Limits, Meg, MegInstance, Termination, load, save
from hisopt.commands.solve import _command
from hisopt.experiments.campaigns.random_instances import draw_decision, draw_meg
from hisopt.instances import Chance, MegChannel
from hisopt.instances.scenario import MEG_PRESETS
from hisopt.meg_equations import visits
from hisopt.result import Guarantee
from hisopt.solvers.meg.baselines import Fixed, pure, within
from hisopt.solvers.meg.exact import LagrangianDual, MegHighs, OccupancyLp
from hisopt.solvers.registry import registered
from hisopt.solvers.run.runner import Outcome, check, contradictions

if TYPE_CHECKING:
    from pathlib import Path

SMALL = MegInstance(
    channel=MegChannel.uniform_distance(3), steps=np.array([4.0, 8.0, 12.0]), ratios=np.array([0.0, 0.5])
)
EXACT = (OccupancyLp(), LagrangianDual(), MegHighs())


def uniform(problem: Meg) -> np.ndarray:
    bins, actions = problem.shapes["policy"]
    return np.full((bins, actions), 1 / actions)


def test_a_policy_is_worth_its_means_by_hand() -> None:
    problem = Meg(SMALL.replace(latency_limit_s=9.0, energy_limit_j=9e3))
    policy = np.zeros((3, 6))
    policy[0, 0], policy[1, 3], policy[2, [4, 5]] = 1.0, 1.0, (0.25, 0.75)
    found, t = problem.evaluate(Decision(policy=policy)), problem.tables
    assert found.feasible
    for name, table in (("reward", t.reward), ("latency", t.latency), ("energy", t.energy)):
        by_hand = (table[0, 0] + table[1, 3] + 0.25 * table[2, 4] + 0.75 * table[2, 5]) / 3
        assert found.parts[name] == pytest.approx(by_hand, rel=1e-12)
    assert found.objective == found.parts["reward"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p * 0.9, "policy: bin 0 sums to 0.9, must be 1"),
        (lambda p: p - np.eye(3, 6), "policy: bin 0, n = 4, beta = 0 has -0.83"),
        (lambda p: p[:, :5], "policy: must be 3 x 6 finite numbers"),
        (lambda p: p * np.nan, "policy: must be 3 x 6 finite numbers"),
        (lambda p: None, "policy: must be 3 x 6 finite numbers"),
        (lambda p: pure(Meg(SMALL), 4), "J exceeds the limit 1800 J"),
    ],
)
def test_bad_policies_are_named(change: Any, words: str) -> None:
    problem = Meg(SMALL)
    found = problem.evaluate(Decision(policy=change(uniform(problem))))
    assert any(words in line for line in found.violations), found.violations


def test_steps_are_no_part_of_a_policy() -> None:
    problem = Meg(SMALL)
    found = problem.evaluate(Decision(policy=pure(problem, 0), steps_edge=np.zeros(1, dtype=np.int64)))
    assert found.violations == ("steps_edge: is no part of a decision here",)


def test_limits_of_a_slot_and_chances_bind() -> None:
    for change in ({"latency_cap_s": 2.5}, {"latency_chance": Chance(level=2.5, probability=0.3)}):
        problem, free = Meg(SMALL.replace(**change)), Meg(SMALL)
        values = []
        for solver in EXACT:
            result = solver.solve(problem, Limits())
            assert result.termination is Termination.OPTIMAL and result.decision is not None
            found = problem.evaluate(result.decision)
            assert found.feasible
            values.append(found.objective)
            late = free.tables.latency > 2.5
            share = float((result.decision.probabilities * late).sum(axis=1).mean())
            assert share == 0 if "latency_cap_s" in change else share <= 0.3 + 1e-9
        assert values == pytest.approx([values[0]] * 3, abs=1e-8)
        best = OccupancyLp().solve(free, Limits())
        assert best.decision is not None and not problem.evaluate(best.decision).feasible
        assert best.bound is not None and best.bound > values[0] + 1e-3


def test_multipliers_are_shadow_prices() -> None:
    """What a little more of each limit brings is what its multiplier says."""
    result = OccupancyLp().solve(Meg(SMALL), Limits())
    assert result.bound is not None
    for name, field, step in (("latency", "latency_limit_s", 1e-4), ("energy", "energy_limit_j", 1e-2)):
        raised = OccupancyLp().solve(Meg(SMALL.replace(**{field: getattr(SMALL, field) + step})), Limits())
        assert raised.bound is not None
        told = result.details["multipliers"][name]
        assert (raised.bound - result.bound) / step == pytest.approx(told["value"], rel=1e-5, abs=1e-9)
        assert ("gained" in told["meaning"]) == (told["value"] > 0)


def test_a_discount_from_a_start_weighs_early_slots_more() -> None:
    """The visits are those of the sum over slots; the program with flow balance finds the same optimum."""
    channel = MegChannel.gauss_markov(3, 0.8).replace(start=[1.0, 0.0, 0.0])
    instance = SMALL.replace(channel=channel, discount=0.7)
    row, total = channel.start, np.zeros(3)
    for t in range(200):
        total += 0.3 * 0.7**t * row
        row = row @ channel.transition
    assert visits(instance) == pytest.approx(total, abs=1e-12)
    values = [solver.solve(Meg(instance), Limits()).bound for solver in EXACT]
    assert values == pytest.approx([values[0]] * 3, abs=1e-8)
    assert values[0] != pytest.approx(OccupancyLp().solve(Meg(SMALL), Limits()).bound, abs=1e-4)


def test_no_solver_contradicts_another_on_random_instances() -> None:
    infeasible = 0
    for seed in range(40):
        problem = Meg(draw_meg(np.random.default_rng(seed)))
        runs = [
            check(problem, s, Limits(), Outcome(s.solve(problem, Limits(seed=seed)), 0.0)) for s in registered("meg")
        ]
        assert contradictions(runs) == []
        ends = {run.termination for run in runs if run.solver.guarantee is Guarantee.EXACT}
        assert len(ends) == 1 and ends <= {Termination.OPTIMAL, Termination.INFEASIBLE}
        infeasible += Termination.INFEASIBLE in ends
        if Termination.OPTIMAL in ends:
            assert problem.evaluate(draw_decision(np.random.default_rng(seed), problem)).feasible
    assert 5 < infeasible < 35


def test_infeasible_limits_are_told_with_the_least_violation() -> None:
    for solver in EXACT[:2]:
        result = solver.solve(Meg(SMALL.replace(latency_limit_s=1.0)), Limits())
        assert result.termination is Termination.INFEASIBLE and result.decision is None
        assert re.match(
            r"latency 1 is below 1\.\d+, its least mean; every policy exceeds some limit by", result.message
        )
        assert result.details["least_violation"] == pytest.approx(
            result.details["least_means"]["latency"] - 1, rel=1e-9
        )
        result = solver.solve(Meg(SMALL.replace(latency_cap_s=0.5)), Limits())
        assert result.termination is Termination.INFEASIBLE
        assert result.message.startswith("channel bin 0: no action keeps latency_cap_s")


def test_fixed_takes_what_is_asked_for() -> None:
    problem = Meg(SMALL)
    best = Fixed().solve(problem, Limits())
    values = [problem.evaluate(Decision(policy=pure(problem, a))) for a in range(6)]
    assert best.decision is not None
    assert problem.evaluate(best.decision).objective == max(v.objective for v in values if v.feasible and v.objective)
    asked = Fixed(steps=4.0, ratio=0.5).solve(problem, Limits())
    assert asked.details == {"action": "n = 4, beta = 0.5"}
    assert Fixed(steps=12.0).solve(problem, Limits()).message.startswith("no fixed action meets the limits")
    with pytest.raises(InputError, match=r"steps: is 5, the instance has 4, 8, 12"):
        Fixed(steps=5.0).solve(problem, Limits())


def test_moved_within_limits() -> None:
    problem = Meg(SMALL)
    moved = within(problem, uniform(problem))
    assert moved is not None and problem.evaluate(Decision(policy=moved)).feasible
    assert within(Meg(SMALL.replace(latency_limit_s=1.0)), uniform(problem)) is None


def test_files_of_instances(tmp_path: Path) -> None:
    instance = SMALL.replace(
        channel=MegChannel.gauss_markov(3, 0.5), discount=0.9, latency_chance=Chance(level=2.0, probability=0.5)
    )
    save(instance, tmp_path / "i.json")
    assert load(tmp_path / "i.json") == instance
    document = json.loads((tmp_path / "i.json").read_text())
    for name in ("steps", "ratios"):
        del document[name]
    document["distortion"] = "errors.csv"
    (tmp_path / "table.json").write_text(json.dumps(document))
    rows = [f"{n},{b},{0.02 + b / 50 - n / 1000}" for n in (4, 8) for b in (0, 0.25)]
    (tmp_path / "errors.csv").write_text("n,beta,mse\n" + "\n".join(rows) + "\n")
    found = load(tmp_path / "table.json")
    assert isinstance(found, MegInstance)
    assert found.steps.tolist() == [4, 8] and found.ratios.tolist() == [0, 0.25]
    assert found.errors == pytest.approx(np.array([[0.016, 0.021], [0.012, 0.017]]))
    for text, words in (
        ("n,beta,mse\n" + "\n".join(rows[:3]), "n = 8, beta = 0.25 is missing"),
        ("n,beta,mse\n" + "\n".join([*rows, rows[0]]), "line 6: n = 4, beta = 0 is there twice"),
        ("n,beta,mse\n4,0,x", "line 2: mse is 'x', must be a number"),
        ("n,beta\n4,0", "column 'mse' is missing"),
        ("n,beta,mse\n4,0,-1", "distortion: n = 4, beta = 0 has -1, must be > 0"),
    ):
        (tmp_path / "errors.csv").write_text(text)
        with pytest.raises(InputError, match=re.escape(words)) as caught:
            load(tmp_path / "table.json")
        assert "\n" not in str(caught.value) and "table.json" in str(caught.value)


def test_presets() -> None:
    assert MEG_PRESETS["meg"].sample(3) == MegInstance()
    assert MEG_PRESETS["meg-markov"].sample().channel.transition is not None
    sent = MEG_PRESETS["meg-centralised"].sample()
    assert sent.payload is not None and sent.payload.tolist() == [1024 * 1024 * 24]
    with pytest.raises(InputError, match="seed"):
        MEG_PRESETS["meg"].sample(-1)


def test_the_command_solves_what_it_wrote(tmp_path: Path) -> None:
    save(SMALL, tmp_path / "i.json")
    arguments = [str(tmp_path / "i.json"), "--solver", "dual", "--format", "json", "--output", str(tmp_path / "r.json")]
    assert CliRunner().invoke(_command, arguments).exit_code == 0
    (run,) = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert run["termination"] == "optimal" and run["refuted"] == []
    assert Meg(SMALL).evaluate(Decision(policy=run["decision"]["policy"])).objective == run["objective"]
    assert load(tmp_path / "r.json") == SMALL
    done = CliRunner().invoke(_command, [str(tmp_path / "i.json"), "--export", str(tmp_path / "m.lp")])
    assert done.exit_code == 0 and "occupancy(0_0)" in (tmp_path / "m.lp").read_text()
    for options, words in (
        (["--users", "3"], "--users"), (["--problem", "joint"], "problem joint: not defined"),
        (["--profile", "p.json"], "--profile: means nothing"),
    ):  # fmt: skip
        error = CliRunner().invoke(_command, [str(tmp_path / "i.json"), *options]).exception
        assert isinstance(error, InputError) and words in str(error)
