"""Answers that are known by hand, or from scipy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hisopt import analysis
from hisopt.errors import InputError

NAN = float("nan")
COSTS = pd.DataFrame({"a": [1.0, 4.0, NAN, NAN], "b": [2.0, 2.0, 3.0, NAN], "c": [1.0, NAN, 30.0, NAN]})


def records(*rows: tuple[object, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["instance", "solver", "objective", "feasible", "seconds", "trajectory"])
    return frame.assign(
        problem="joint", seed=0, maximise=True, bound=None, time_limit=10.0, source="small", users=3, clusters=1
    )


def test_performance_profile_by_hand_and_anew_for_the_solvers_shown() -> None:
    profile = analysis.performance_profile(COSTS)
    assert list(profile.index) == [1.0, 2.0, 10.0]
    assert list(profile["a"]) == [0.25, 0.5, 0.5]  # best on the first task, twice the best on the second
    assert list(profile["b"]) == [0.5, 0.75, 0.75]
    assert list(profile["c"]) == [0.25, 0.25, 0.5]
    alone = analysis.performance_profile(COSTS[["a", "c"]])  # without b, a and c are the best where they were not
    assert list(alone.index) == [1.0] and list(alone["a"]) == [0.5] and list(alone["c"]) == [0.5]


def test_data_profile_by_hand() -> None:
    profile = analysis.data_profile(COSTS)
    assert list(profile.index) == [0.0, 1.0, 2.0, 3.0, 4.0, 30.0]
    assert list(profile["b"]) == [0.0, 0.0, 0.5, 0.75, 0.75, 0.75]


def test_shifted_geometric_mean_counts_failures_at_the_penalty() -> None:
    means = analysis.shifted_geometric_mean(COSTS, shift=1.0, penalty=10.0)
    assert means["a"] == pytest.approx((2 * 5 * 11 * 11) ** 0.25 - 1)
    assert means["c"] == pytest.approx((2 * 11 * 11 * 11) ** 0.25 - 1)  # 30 is cut to the penalty
    with pytest.raises(InputError, match="shift 0"):
        analysis.shifted_geometric_mean(COSTS, 0.0, 1.0)


def test_win_tie_loss_by_hand() -> None:
    table = analysis.win_tie_loss(COSTS).set_index(["solver", "against"])
    assert list(table.loc[("a", "b")]) == [1, 1, 2]  # both fail the last: a tie
    assert list(table.loc[("b", "a")]) == [2, 1, 1]
    assert list(table.loc[("a", "c")]) == [1, 2, 1]


def test_costs_take_success_from_the_best_known_objective() -> None:
    frame = records(
        ("i", "good", 10.0, True, 2.0, []), ("i", "bad", 9.0, True, 1.0, []), ("i", "liar", 99.0, False, 1.0, [])
    )
    seconds = analysis.costs(frame)
    assert seconds["good"].tolist() == [2.0] and seconds["bad"].isna().all() and seconds["liar"].isna().all()
    two = pd.concat([frame, frame.assign(instance="j", seed=1, feasible=False)])
    assert analysis.costs(two).shape == (2, 3)  # where all fail the task stays, and no task is made up
    assert analysis.costs(frame, "gap")["bad"].tolist() == [pytest.approx(0.1)]
    down = analysis.relative_gaps(frame.assign(maximise=False))
    assert down.tolist()[:2] == [pytest.approx(0.1), 0.0]
    with pytest.raises(InputError, match="nodes"):
        analysis.costs(frame, "nodes")
    twice = pd.concat([frame, frame[:1].assign(seconds=4.0)])
    assert analysis.costs(twice)["good"].tolist() == [3.0]
    failed = pd.concat([frame, frame[:1].assign(feasible=False)])
    assert analysis.costs(failed)["good"].isna().all()  # on another machine it failed
    limits = pd.concat([frame, frame.assign(time_limit=1.0)])
    assert analysis.costs(limits).shape == (2, 3)  # another limit is another task


def test_saying_that_there_is_no_solution_succeeds_where_none_is_known() -> None:
    frame = records(("i", "says", None, False, 2.0, []), ("i", "fails", None, False, 1.0, []),
                    ("j", "says", None, False, 3.0, []), ("j", "fails", 1.0, True, 1.0, []))  # fmt: skip
    frame["termination"] = ["infeasible", "completed", "infeasible", "optimal"]
    assert analysis.without_solution(frame).tolist() == [True, False, False, False]
    seconds = analysis.costs(frame)
    assert seconds["says"].tolist()[0] == 2.0 and np.isnan(seconds["says"].tolist()[1])
    assert np.isnan(seconds["fails"].tolist()[0]) and seconds["fails"].tolist()[1] == 1.0


def test_failures_count_at_each_tasks_own_limit() -> None:
    frame = pd.concat([records(("i", "a", 1.0, True, 2.0, []), ("i", "b", None, False, 1.0, [])),
                       records(("j", "a", 1.0, True, 9.0, []), ("j", "b", 1.0, True, 0.5, [])).assign(time_limit=4.0)])  # fmt: skip
    values = analysis.costs(frame)
    assert analysis.at_limit(values).to_numpy().tolist() == [[2.0, 10.0], [4.0, 0.5]]
    means = analysis.shifted_geometric_mean(analysis.at_limit(values, 10), 1.0)
    assert means.tolist() == pytest.approx([math.sqrt(3 * 10) - 1, math.sqrt(101 * 1.5) - 1])


def test_contradictions_by_hand() -> None:
    frame = records(("i", "claims", 9.0, True, 1.0, []), ("i", "finds", 10.0, True, 1.0, []),
                    ("i", "liar", 99.0, False, 1.0, []), ("i", "near", None, False, 1.0, []),
                    ("j", "claims", 1.0, True, 1.0, []), ("j", "finds", 1.0, True, 1.0, []),
                    ("j", "gives up", None, False, 1.0, []))  # fmt: skip
    frame["bound"] = [9.5, None, None, 10.0 - 5e-6, 1.0, None, None]
    frame["termination"] = ["optimal"] * 6 + ["infeasible"]
    frame["refuted"] = [[], [], ["claims an optimum without a feasible decision"], [], [], [], []]
    found = analysis.contradictions(frame)
    assert found[["instance", "solver", "against"]].to_numpy().tolist() == [
        ["i", "liar", ""], ["i", "claims", "finds"], ["j", "gives up", "claims"],
    ]  # fmt: skip
    assert "9.5 is passed by the objective 10" in found["claim"][1]
    down = frame.assign(maximise=False, bound=[9.5, None, None, None, 1.0, None, None])
    assert analysis.contradictions(down)["claim"][1].startswith("its bound 9.5 is passed by the objective 9")
    assert len(analysis.contradictions(frame[5:6])) == 0


def test_integrals_by_hand() -> None:
    frame = records(
        ("i", "fast", 10.0, True, 4.0, [[1.0, 5.0, None], [2.0, 10.0, 20.0]]),
        ("i", "none", None, False, 10.0, []),
    )
    frame.loc[0, "bound"] = 10.0
    found = analysis.integrals(frame)
    assert found.loc[0, "primal"] == pytest.approx(1.0 + 0.5)  # gap 1 for 1 s, 1/2 for 1 s, 0 after
    assert found.loc[0, "dual"] == pytest.approx(2.0 + 2 * 0.5)  # 1 for 2 s, 1/2 for 2 s, 0 after
    assert found.loc[1].tolist() == [10.0, 10.0]
    curve = analysis.gap_over_time(frame, [0.0, 1.0, 2.0])
    assert curve["fast"].tolist() == [1.0, 0.5, 0.0] and curve["none"].tolist() == [1.0, 1.0, 1.0]


def test_interquartile_mean_and_its_interval() -> None:
    assert analysis.iqm(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0])) == pytest.approx(3.5)
    rng = np.random.default_rng(1)
    values = pd.DataFrame({"x": np.concatenate([rng.normal(0, 1, 60), rng.normal(5, 1, 60)]), "same": 2.0})
    strata = pd.Series(["low"] * 60 + ["high"] * 60)
    table = analysis.iqm_intervals(values, strata)
    assert table.loc["same", ["iqm", "low", "high"]].tolist() == [2.0, 2.0, 2.0]
    low, high = table.loc["x", "low"], table.loc["x", "high"]
    assert low < table.loc["x", "iqm"] < high
    free = analysis.iqm_intervals(values, pd.Series(["all"] * 120))  # without strata the shares vary, too
    assert high - low < free.loc["x", "high"] - free.loc["x", "low"]


def test_the_stratified_interval_is_that_of_rliable() -> None:
    runs = [[0.0, 1.3, 2.73, 4.11], [-0.45, 0.01, 3.06, 6.34], [-0.49, 0.38, 3.49, 5.36], [0.11, 0.07, 2.97, 5.7],
            [-1.34, 0.54, 1.1, 3.71], [-1.84, 0.76, 1.73, 5.27]]  # fmt: skip
    values = pd.DataFrame({"learned": np.array(runs).ravel()})
    tasks = pd.Series(["a", "b", "c", "d"] * 6)
    row = analysis.intervals(values, tasks, samples=20_000).loc["learned"]
    assert row["iqm"] == pytest.approx(1.52)  # aggregate_iqm of rliable 1.2.0 on these runs
    assert (row["low"], row["high"]) == pytest.approx((1.1333, 1.8717), abs=0.02)  # its get_interval_estimates
    mean = analysis.intervals(values, None, "mean", samples=20_000).loc["learned"]
    plain = stats.bootstrap((values["learned"].to_numpy(),), np.mean, method="percentile", n_resamples=20_000, rng=0)
    interval = plain.confidence_interval
    assert (mean["low"], mean["high"]) == pytest.approx((interval.low, interval.high), abs=0.05)
    with pytest.raises(InputError, match="mode"):
        analysis.intervals(values, None, "mode")


def test_holm_by_hand_and_wilcoxon_as_scipy() -> None:
    assert analysis.holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"a": rng.normal(size=20), "b": rng.normal(0.8, size=20)})
    values["c"] = values["a"]
    table = analysis.wilcoxon(values).set_index(["solver", "against"])
    expected = stats.wilcoxon(values["a"], values["b"]).pvalue
    assert table.loc[("a", "b"), "p"] == pytest.approx(expected)
    assert table.loc[("a", "b"), "p_holm"] == pytest.approx(min(1, 3 * expected))
    assert table.loc[("a", "c"), "p"] == 1.0


def test_variation_over_seeds() -> None:
    frame = records(("i", "s", 1.0, True, 1.0, []), ("j", "s", 3.0, True, 1.0, []), ("k", "s", 9.0, False, 1.0, []))
    row = analysis.over_seeds(frame).iloc[0]
    assert (row["count"], row["failed"], row["mean"]) == (2, 1, 2.0)
    assert row["std"] == pytest.approx(math.sqrt(2))
