"""The merge of the clusters' SMs against all choices; losses in eighths, so that ties are ties."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from hisopt import Termination
from hisopt.solvers.joint import whole_sms
from hisopt.solvers.joint.whole_sms import _convolve, _pair_all, merge


def losses(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    sms, lost = [], []
    for _ in range(int(rng.integers(1, 5))):
        size = int(rng.integers(1, 5))
        sms.append(np.sort(rng.choice(8, size, replace=False)))
        lost.append(rng.integers(0, 24, size) / 8)
    return sms, lost


def least_loss(sms: list[np.ndarray], lost: list[np.ndarray], budget: int, price: float) -> float:
    """The least of sum rho + price (V - sum v) over all choices within the budget, infinite where there is none."""
    best = math.inf
    for choice in product(*(range(len(own)) for own in sms)):
        used = sum(int(own[i]) for own, i in zip(sms, choice, strict=True))
        if used <= budget:
            own_loss = sum(float(own[i]) for own, i in zip(lost, choice, strict=True))
            best = min(best, own_loss + price * (budget - used))
    return best


@pytest.mark.parametrize("paired", [1 << 20, 0])
def test_merge_finds_the_least_loss_up_to_the_limit(monkeypatch: pytest.MonkeyPatch, paired: int) -> None:
    monkeypatch.setattr(whole_sms, "_PAIRED", paired)
    for seed in range(250):
        rng = np.random.default_rng(seed)
        sms, lost = losses(rng)
        budget, price = int(rng.integers(0, 24)), float(rng.choice([0, 0, 0.125, 0.5, 2]))
        least = least_loss(sms, lost, budget, price)
        if least == math.inf:
            assert merge(sms, lost, budget, price, 1e9, never, 1e9) == whole_sms.Merged(None)
            continue
        for loss in (least, least + 0.0625, least + 8):
            found = merge(sms, lost, budget, price, loss, never, 1e9)
            assert found.stopped is None
            assert found.sms is not None
            own = [float(r[v == f][0]) for v, r, f in zip(sms, lost, found.sms, strict=True)]
            assert found.sms.sum() <= budget
            assert sum(own) + price * (budget - found.sms.sum()) == least
        assert merge(sms, lost, budget, price, least - 0.0625, never, 1e9) == whole_sms.Merged(None)


def never() -> bool:
    return False


def test_a_cluster_without_candidates_ends_the_merge() -> None:
    assert (
        merge([np.zeros(0, dtype=np.int64), np.arange(2)], [np.zeros(0), np.zeros(2)], 9, 0.0, 9.0, never, 1e9).sms
        is None
    )


@pytest.mark.parametrize("seed", range(40))
def test_all_sums_in_both_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    used, own = (np.sort(rng.choice(30, int(rng.integers(1, 9)), replace=False)) for _ in range(2))
    spent, lost = rng.integers(0, 9, len(used)) / 8, rng.integers(0, 9, len(own)) / 8
    best: dict[int, float] = {}
    for i, j in product(range(len(used)), range(len(own))):
        total = int(used[i] + own[j])
        best[total] = min(best.get(total, math.inf), spent[i] + lost[j])
    by_arrays = _convolve(used, spent, own, lost, never)
    assert by_arrays is not None
    for total, cost, pick in (_pair_all(used, spent, own, lost), by_arrays):
        assert total.tolist() == sorted(best)
        assert cost.tolist() == [best[int(t)] for t in total]
        for t, c, j in zip(total, cost, pick, strict=True):
            i = np.flatnonzero(used == t - own[j])
            assert c == spent[i[0]] + lost[j]
    assert _convolve(used, spent, own, lost, lambda: True) is None


def test_a_merge_stops_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sms, lost = [np.arange(3), np.arange(4)], [np.array([2.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0, 0.0])]

    def after(calls: int) -> whole_sms.Merged:
        left = iter([False] * calls)
        return merge(sms, lost, 9, 0.0, 9.0, lambda: next(left, True), 1e9)

    stopped = whole_sms.Merged(None, Termination.TIME_LIMIT)
    assert [after(calls) == stopped for calls in (0, 1)] == [True, True]
    assert after(2).sms is not None
    monkeypatch.setattr(whole_sms, "_PAIRED", 0)
    assert [after(calls) == stopped for calls in range(6)] == [True] * 6  # 1 and 1, 1 and 3 of arrays
    assert after(6).sms is not None


def test_a_merge_holds_its_states_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two numbers of 8 bytes a state: 3 and then 6 states."""
    sms, lost = [np.arange(3), np.arange(4)], [np.array([2.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0, 0.0])]
    assert merge(sms, lost, 9, 0.0, 9.0, never, 9 * 16.0).sms is not None
    full = whole_sms.Merged(None, Termination.MEMORY_LIMIT)
    assert merge(sms, lost, 9, 0.0, 9.0, never, 9 * 16.0 - 1) == full
    monkeypatch.setattr(whole_sms, "_PAIRED", 11)  # 3 states and 4 options are 12 pairs
    monkeypatch.setattr(whole_sms, "MOST_ENTRIES", 1)  # and an array of them is 5 - 0 long
    assert merge(sms, lost, 9, 0.0, 9.0, never, 1e9) == full
    monkeypatch.setattr(whole_sms, "_PAIRED", 12)
    assert merge(sms, lost, 9, 0.0, 9.0, never, 1e9).sms is not None
