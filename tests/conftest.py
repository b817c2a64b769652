from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from hisopt import PRESETS, Instance
from hisopt.solvers.clustering.hac import average_linkage

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def small() -> Instance:
    """The default instance, with HAC's clusters and everyone's steps in the middle."""
    instance = PRESETS["small"].sample(0)
    assert isinstance(instance, Instance)
    assert instance.embeddings is not None
    common, edge = instance.steps.middle()
    return instance.replace(
        clusters=average_linkage(instance.embeddings, instance.max_clusters),
        given_common=np.full(instance.users, common),
        given_edge=np.full(instance.users, edge),
    )
