"""The presets say what the papers say."""

from __future__ import annotations

import numpy as np

from hisopt import PRESETS, IccInstance, Limits
from hisopt.instances import QualityTable
from hisopt.problems import Steps
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.steps.enumeration import Enumeration


def test_the_icc_preset_has_no_modules_and_weights_that_leave_a_choice() -> None:
    steps = []
    for seed in range(4):
        instance = clustered(PRESETS["icc"].sample(seed))
        assert isinstance(instance, IccInstance)
        assert (instance.quality.coefficients == QualityTable.published(modules=False).coefficients).all()
        decision = Enumeration().solve(Steps(instance), Limits()).decision
        assert decision is not None and decision.steps_edge is not None and decision.steps_common is not None
        steps.append((decision.steps_common, decision.steps_edge))
    on_server = np.mean([steps_edge > 0 for _, steps_edge in steps])
    assert 0.2 < on_server < 0.8  # some devices are worth relieving, others are not
    assert np.mean([common for common, _ in steps]) > 0.5
