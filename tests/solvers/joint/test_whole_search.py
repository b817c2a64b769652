"""The search over steps and whole SMs, each of its branches on its own."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from plain_instances import odd
from whole_instances import STEPS, few, gapped, tiny

from hisopt import Limits, Termination
from hisopt.experiments.campaigns import plain_formulas as plain
from hisopt.experiments.campaigns.brute_force import optimum
from hisopt.instances import StepLimits, Weights
from hisopt.problems import Allocation, Joint
from hisopt.solvers.allocation.whole import MOST_SMS
from hisopt.solvers.base import Deadline
from hisopt.solvers.joint import whole
from hisopt.solvers.joint.whole import JointExactInteger, _pairs, _Search
from hisopt.solvers.joint.whole_sms import MOST_ENTRIES, Merged, Options
from hisopt.solvers.run import progress

if TYPE_CHECKING:
    from hisopt.instances import Instance

LIMITS = Limits(time_s=60)


def searched(instance: Instance) -> _Search:
    search = _Search(instance, int(instance.sm_budget))
    search.run(LIMITS, Deadline(LIMITS))
    return search


# who is served, and what is refused


def test_it_serves_the_joint_problem_with_whole_sms() -> None:
    instance = odd()
    serves = [JointExactInteger().serves(p(instance, whole_sms=w)) for p in (Joint, Allocation) for w in (True, False)]
    assert serves == [True, False, False, False]


def test_more_sms_than_double_precision_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for sms in (math.nextafter(MOST_SMS, math.inf), 2.0**60):
        found = JointExactInteger().solve(Joint(tiny([0, 1], [1.0, 2.0], sms), whole_sms=True), LIMITS)
        message = "whole SMs are counted up to 9007199254740992"
        assert (found.termination, found.decision, found.message) == (Termination.UNAVAILABLE, None, message)
    monkeypatch.setattr(whole, "MOST_SMS", 5)
    assert JointExactInteger().solve(Joint(gapped(), whole_sms=True), LIMITS).termination is Termination.OPTIMAL


def test_as_many_sms_as_clusters_that_must_work() -> None:
    steps = StepLimits(total=2, common_max=1, edge_min=1, edge_max=1, device_min=0, device_max=2)
    for sms, termination in [(1.9, Termination.INFEASIBLE), (2.0, Termination.OPTIMAL), (3.0, Termination.OPTIMAL)]:
        found = JointExactInteger().solve(Joint(tiny([0, 1], [1.0, 1.0], sms, steps=steps), whole_sms=True), LIMITS)
        assert found.termination is termination


def test_without_an_sm_only_idle_options_are_left() -> None:
    instance = tiny([0, 1], [3.0, 4.0], 0.5)
    assert not _Search(instance, 0).options.busy.any()
    assert _Search(instance, 1).options.busy.any()
    forced = instance.replace(
        steps=StepLimits(total=2, common_max=1, edge_min=1, edge_max=1, device_min=0, device_max=2)
    )
    assert _Search(forced, 0).options.forced == 2


# what a claim needs


def test_a_margin_wider_than_the_gap_allowed_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "lost_in_sums", lambda _: 1e-3)
    problem = Joint(gapped(), whole_sms=True)
    found, best = JointExactInteger().solve(problem, LIMITS), optimum(problem).value
    assert best is not None
    assert found.bound is not None
    assert (found.termination, found.message) == (
        Termination.NUMERICAL_ERROR,
        "rounding errors are larger than the gap allowed",
    )
    assert best + 1e-3 < found.bound < best + 1


def test_a_value_that_nearly_cancels_is_measured_by_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = odd(4, labels=[0, 0, 1], steps=STEPS[0])
    low, high = 0.0, 100.0
    for _ in range(60):  # the weight of quality at which the utility is 0
        weight = (low + high) / 2
        instance = given.replace(weights=Weights(quality=weight, delay=1.7, energy=0.45))
        value = optimum(Joint(instance, whole_sms=True)).value
        assert value is not None
        low, high = (weight, high) if value < 0 else (low, weight)
    problem = Joint(given.replace(weights=Weights(quality=high * (1 + 1e-7), delay=1.7, energy=0.45)), whole_sms=True)
    monkeypatch.setattr(whole, "lost_in_sums", lambda _: 1e-11)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.decision is not None
    assert found.bound is not None
    objective = problem.evaluate(found.decision).objective
    assert objective is not None
    assert abs(found.bound - objective) > 1e-6 * max(abs(found.bound), abs(objective))
    assert (found.termination, found.message) == (Termination.OPTIMAL, "")


def test_a_search_that_stops_early_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Joint(gapped(), whole_sms=True)
    best = optimum(problem).value
    assert best is not None

    def ends(limits: Limits = LIMITS) -> tuple[Termination, str]:
        found = JointExactInteger().solve(problem, limits)
        assert found.decision is not None
        assert problem.evaluate(found.decision).feasible
        assert found.bound is not None
        assert best < found.bound <= found.details["bound_by_price"] + 1e-12
        return found.termination, found.message

    late = (Termination.TIME_LIMIT, "time ran out")
    assert ends(Limits(time_s=0.0)) == late
    large = (Termination.MEMORY_LIMIT, "the merge over the SMs needs more memory than it may take")
    assert ends(Limits(time_s=60, memory_gb=1e-9)) == large
    for stopped, expected in [(Termination.TIME_LIMIT, late), (Termination.MEMORY_LIMIT, large)]:
        monkeypatch.setattr(whole, "merge", lambda *_, why=stopped: Merged(None, why))
        assert ends() == expected
    monkeypatch.setattr(Options, "candidates", lambda *_: None)
    assert ends() == large


# one thing after the other


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of the parts of a search, in turn."""
    found: list[tuple[Any, ...]] = []
    candidates, merge, maximise = Options.candidates, whole.merge, whole.scalar_coupling.maximise

    def candidates_of(options: Options, *given: Any) -> Any:
        found.append(("candidates", *given))
        return candidates(options, *given)

    def merged(*given: Any) -> Any:
        found.append(("merge", *given))
        return merge(*given)

    def real(*given: Any, **named: Any) -> Any:
        found.append(("real", *given[:4], given[4].left, named))
        return maximise(*given, **named)

    monkeypatch.setattr(Options, "candidates", candidates_of)
    monkeypatch.setattr(whole, "merge", merged)
    monkeypatch.setattr(whole.scalar_coupling, "maximise", real)
    return found


def names(calls: list[tuple[Any, ...]]) -> list[str]:
    found = [str(call[0]) for call in calls]
    calls.clear()
    return found


def test_the_merge_comes_first_where_it_is_quick(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    instance = gapped()
    search = searched(instance)
    _, price, budget, loss, most = calls[0]
    assert (price, budget, most) == (search.price, 5, MOST_ENTRIES // 8)
    assert calls[1][3:6] == (5, search.price, loss)
    assert calls[1][7] == 8.0 * 0.25e9
    assert calls[1][6]() is False
    assert names(calls) == ["candidates", "merge"]
    monkeypatch.setattr(whole, "_QUICK", 0.0)
    search = _Search(instance, 5)
    limits = Limits(time_s=1e6, memory_gb=3.0)
    search.run(limits, Deadline(limits))
    assert 4.9e5 < calls[1][5] <= 5e5  # half of the time
    assert calls[1][4] == 5.0
    assert calls[1][6] == {"constant": search.tables.constant, "tolerance": 1e-9}
    assert len(calls[2]) == 4
    assert calls[2][3] <= calls[0][3]  # what a better incumbent leaves
    assert calls[3][7] == 3.0 * 0.25e9
    assert names(calls) == ["candidates", "real", "candidates", "merge"]
    monkeypatch.setattr(whole, "_QUICK", 3e7)
    monkeypatch.setattr(whole, "MOST_ENTRIES", 8)
    searched(instance)
    assert names(calls) == ["candidates", "real", "candidates", "merge"]


def test_a_search_ends_with_the_gap(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    search = searched(tiny([0], [3.0], 4))
    assert search.bound - search.value == pytest.approx(search.rounding, rel=1e-2)
    assert names(calls) == []
    monkeypatch.setattr(whole, "_QUICK", 0.0)
    assert searched(gapped()).gap > 1e-16
    assert names(calls) == ["candidates", "real", "candidates", "merge"]
    monkeypatch.setattr(whole, "PROVEN", 0.5)
    assert 0 < searched(gapped()).gap <= 0.5
    assert names(calls) == ["candidates", "real"]


def test_time_that_is_over_before_the_merge(calls: list[Any]) -> None:
    search = _Search(gapped(), 5)
    assert search.run(LIMITS, Deadline(Limits(time_s=0.0))) is Termination.TIME_LIMIT
    assert names(calls) == ["candidates"]


def test_it_tells_decision_and_bound_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Joint(gapped(), whole_sms=True)
    best, told = optimum(problem).value, []
    assert best is not None
    for pace, count in [(1e9, 0), (0.0, 2)]:
        monkeypatch.setattr(progress, "PACE_S", pace)
        told.clear()
        with progress.listening(lambda *given: told.append(given)):
            found = JointExactInteger().solve(problem, LIMITS)
        assert len(told) == count
    for decision, bound in told:
        assert problem.evaluate(decision).feasible
        assert bound == pytest.approx(found.details["bound_by_price"], rel=1e-12)
        assert bound > best
    single = Joint(tiny([0], [3.0], 4), whole_sms=True)
    told.clear()
    with progress.listening(lambda *given: told.append(given)):
        found = JointExactInteger().solve(single, LIMITS)
    assert [bound for _, bound in told] == [found.bound]


def test_the_margin_by_its_parts() -> None:
    instance = odd(1, labels=[0, 0, 1], steps=STEPS[0], flop_device=90.0)
    instance = instance.replace(edge=instance.edge.replace(sms=3.0))
    search = searched(instance)
    options, energy = search.options, plain.step_energy(instance)
    most = max(abs(float(q)) for q in plain.qualities(instance, np.asarray(instance.quality.similarity)).ravel())
    ends = abs(search.dual) + abs(search.value) + abs(search.tables.constant)
    for kept in (np.ones(len(options.gain), dtype=bool), np.arange(len(options.gain)) % 2 == 0, options.gain > 1e9):
        gains = 0.0
        for m in range(options.count):
            own = [k for k in range(len(kept)) if options.cluster[k] == m and kept[k]]
            works = [(abs(options.gain[k]), int(search.tables.work[options.index[k]])) for k in own]
            gains += max((gain + 2 * energy * work for gain, work in works), default=0.0)
        expected = (32 + 4 * math.sqrt(3)) / 2**52 * (gains + 2 * 3 * 0.8 * most + search.price * 3 + ends)
        assert search._margin(kept) == pytest.approx(expected, rel=1e-12, abs=0)
    assert search.price > 0
    assert energy > 0
    assert search.tables.constant != 0


@pytest.mark.parametrize("lost", [None, 1e-3])
def test_the_margin_counts_the_options_of_an_optimum(monkeypatch: pytest.MonkeyPatch, lost: float | None) -> None:
    """Those that lose no more than the incumbent, and what rounding may hide of both, which a large margin shows."""
    asked: list[Any] = []
    if lost:
        monkeypatch.setattr(whole, "lost_in_sums", lambda _: lost)
    margin = _Search._margin

    def recorded(search: _Search, kept: np.ndarray) -> float:
        found = margin(search, kept)
        asked.append((kept.tolist(), max(search.dual - search.value, 0.0), found))
        return found

    monkeypatch.setattr(_Search, "_margin", recorded)
    seen, between = set(), 0
    for seed in range(40):
        search = searched(few(seed, edge=odd().edge.replace(sms=6.0)))
        (first, loss, rounding), (second, _, _) = asked[-2:]
        assert all(first)
        options = search.options
        for k, kept in enumerate(second):
            ways = {
                i: options.gain[i]
                if not options.busy[i]
                else max(options.gain[i] - options.cost[i] / v - search.price * v for v in range(1, 7))
                for i in range(len(second))
                if options.cluster[i] == options.cluster[k]
            }
            rho = max(ways.values()) - ways[k]
            assert kept == (rho <= loss + 2 * rounding) or abs(rho - loss - 2 * rounding) < 1e-12
            seen.add(kept)
            between += loss < rho <= loss + 2 * rounding
    assert seen == {True, False}
    assert not lost or between > 5


def test_what_a_choice_may_lose() -> None:
    search = _Search(gapped(), 5)
    search.rounding = 0.125
    for dual, value, loss in [(5.0, 3.0, 2.125), (3.0, 5.0, 0.125), (3.0, 3.0, 0.125)]:
        search.dual, search.value = dual, value
        assert search.loss == loss


def test_only_a_better_offer_is_taken() -> None:
    search = searched(gapped())
    pick, sms, value = search.pick, search.sms, search.value
    search._offer(np.zeros(4, dtype=np.int64))
    assert search.pick is pick
    search._offer(sms)  # a tie
    assert search.pick is pick
    search.value = value - 1
    search._offer(np.zeros(4, dtype=np.int64))
    assert search.value == 0 or search.value >= value - 1
    search._offer(sms)
    assert (search.value, search.sms.tolist()) == (value, sms.tolist())


def test_the_bound_with_real_sms(monkeypatch: pytest.MonkeyPatch) -> None:
    search = _Search(gapped(), 5)
    search.run(LIMITS, Deadline(LIMITS))
    value, choice = search.value, search.options.index[search.options.starts]

    def real(bound: float, objective: float, before: float) -> float:
        answer = SimpleNamespace(bound=bound, value=objective, choice=choice)
        monkeypatch.setattr(whole.scalar_coupling, "maximise", lambda *_, **__: answer)
        search.bound, search.rounding = before, 0.125
        search._real(Deadline(LIMITS))
        return search.bound

    assert real(value + 1, value + 0.5, value + 2) == value + 1.125
    assert real(value + 0.5, value + 1, value + 2) == value + 1.125
    assert real(value + 4, value, value + 2) == value + 2
    assert real(value - 4, value - 5, value + 2) == value  # never below the incumbent


def test_real_sms_round_to_an_incumbent(monkeypatch: pytest.MonkeyPatch) -> None:
    search = searched(gapped())
    value, search.value = search.value, -math.inf
    search._real(Deadline(LIMITS))
    assert -math.inf < search.value <= value
    scarce = searched(tiny([0, 1], [3.0, 2.9], 1))  # with real SMs both work, and one SM serves one
    before = scarce.value
    scarce._real(Deadline(LIMITS))
    assert scarce.value == before
    free = _Search(tiny([0, 1], [3.0, 4.0], 3, weights=Weights(quality=0, delay=0, energy=0)), 3)
    free.run(LIMITS, Deadline(LIMITS))
    monkeypatch.setattr(whole.scalar_coupling, "maximise", None)
    free._real(Deadline(LIMITS))  # nothing costs anything: no bound to look for
    assert free.bound >= free.value


def test_the_sms_that_are_rounded_are_those_of_the_real_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of two and three users work on one step, the third idles."""
    search = searched(tiny([0, 0, 1, 1, 1, 2], [2.0] * 6, 7))
    tables = search.tables
    choice = np.array(
        [int(np.flatnonzero(tables.work[a:b] == w)[0]) + a for a, b, w in [(0, 2, 1), (2, 4, 1), (4, 6, 0)]]
    )
    answer, asked = SimpleNamespace(bound=0.0, value=-1.0, choice=choice), []
    monkeypatch.setattr(whole.scalar_coupling, "maximise", lambda *_, **__: answer)
    monkeypatch.setattr(whole, "marginal_allocation", lambda *given: asked.append(given))
    search._real(Deadline(LIMITS))
    ((cost, budget, busy),) = asked
    assert (cost.tolist(), budget, busy.tolist()) == (pytest.approx([2, 3, 0], rel=1e-14), 7, [True, True, False])


def test_pairs_that_a_merge_forms() -> None:
    def sizes(*counts: int) -> list[np.ndarray]:
        return [np.zeros(count, dtype=np.int64) for count in counts]

    assert _pairs(sizes(3), 100) == 3
    assert _pairs(sizes(5, 3), 100) == 3 + 15
    assert _pairs(sizes(5, 3, 4), 100) == 3 + 12 + 60
    assert _pairs(sizes(5, 3, 4), 9) == 3 + 12 + 50
    assert _pairs([], 9) == 0
