"""Verdicts on the order of ablations and on learned policies for mobile edge generation, from made curves and records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hisopt.experiments.papers.edge import CORRECTED, PUBLISHED, Edge
from hisopt.experiments.papers.learning import Learning, order_verdict
from hisopt.experiments.papers.training_runs import ABLATIONS, OURS, settings_of
from hisopt.experiments.papers.verdicts import Verdict


@pytest.mark.parametrize(
    ("published", "raw", "vanilla", "verdict"),
    [
        ([0.101, 0.1], 0.15, 0.2, Verdict.REPRODUCED),
        ([0.101, 0.1], 0.05, 0.2, Verdict.DIRECTION),  # ahead of vanilla, but not the best
        ([0.101, 0.1], 0.15, 0.08, Verdict.REFUTED),
        ([0.2, 0.1], 0.15, 0.2, Verdict.NOT_IDENTIFIABLE),  # still falling
    ],
)
def test_the_order_of_the_ablations(published: list[float], raw: float, vanilla: float, verdict: Verdict) -> None:
    others = {"raw advantages": raw, "raw rewards": raw, "vanilla": vanilla}
    ends = {"published": [0.3, 0.3, *published]} | {name: [0.3, 0.3, 0.3, end] for name, end in others.items()}
    curves = {variant: np.array([ends[variant], ends[variant]]) for variant in ABLATIONS}
    assert order_verdict(curves) is verdict


def test_learners_are_the_papers_own() -> None:
    journal, conference = (settings_of(learner, "published", 3, 30) for learner in ("ippo", "hid"))
    assert (journal.learning_rate, journal.hidden, journal.reward_scale) == (0.005, (256, 256, 256), "agent")
    assert (conference.learning_rate, conference.hidden, conference.reward_scale) == (0.0005, (128, 128, 128), "return")
    vanilla = settings_of("ippo", "vanilla", 0, 1)
    assert vanilla.clip is None and vanilla.value_clip is None
    assert not vanilla.normalise_advantages and not vanilla.normalise_rewards
    cells = Learning(seeds=5).cells()
    assert cells[: 2 * (len(ABLATIONS) + len((OURS,)))] == Learning(seeds=1).cells()  # more seeds go on from fewer


def test_a_learned_policy_holds_within_a_hundredth_and_the_simulated_interval() -> None:
    def rows(gap: float, latency: float) -> pd.DataFrame:
        learned = {"gap": gap, "latency": latency, "energy": 1790.0, "violation": latency / 3 - 1, "steps": np.nan}
        learned |= {"interval_latency": 0.004, "interval_energy": 1.0, "curve": [[0, 0.2, 0.1], [5, gap, 0.0]]}
        saving = {"steps": 4.0, "saved": 93.0, "bits": 2.2, "bits_merged": 1.0}
        return pd.DataFrame([{"method": PUBLISHED} | learned, {"method": CORRECTED} | learned, saving])

    def verdict(gap: float, latency: float) -> Verdict:
        return {found.item: found.verdict for found in Edge().findings(rows(gap, latency))}["abstract-cvpo-corrected"]

    assert verdict(0.009, 3.003) is Verdict.REPRODUCED
    assert verdict(0.011, 3.003) is Verdict.REFUTED
    assert verdict(0.009, 3.005) is Verdict.REFUTED
