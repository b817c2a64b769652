from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

# before NumPy and torch: the workers of pytest use the cores, and their threads would spin in vain
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from hisopt import PRESETS, Instance
from hisopt.solvers.clustering.hac import average_linkage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

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


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Call]:
    """Programs in this process and the test's folder: their imports and models are loaded once for many calls."""
    monkeypatch.chdir(tmp_path)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]

    def run(main: Callable[[], None], *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["hisopt", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    yield run
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
