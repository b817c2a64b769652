"""``python -m hisopt.experiments.benchmarks.joint_scaling``: how far the exact joint solver goes, in seconds and bytes a user."""

from __future__ import annotations

import resource
import sys
import threading
import time

import click
import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from hisopt import PRESETS, Limits
from hisopt.instances import Instance
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact

SIZES = (
    (50, 3), (10**4, 100), (10**4, 10), (10**5, 10), (10**6, 10**4), (10**6, 10), (10**7, 10**5),
)  # fmt: skip


def sample(users: int, clusters: int, seed: int, *, whole: bool) -> Instance:
    """Return an instance of the preset ``large`` at any size; real v_n, all different, take away every tie."""
    scenario = PRESETS["large"].replace(
        users=users, max_clusters=clusters, edge_sms=(int(20.5 * users), int(33.5 * users))
    )
    instance = scenario.sample(seed)
    assert isinstance(instance, Instance)
    if whole:
        return instance
    sms = np.random.default_rng(seed).uniform(64, 84, users)
    return instance.replace(devices=instance.devices.replace(sms=sms))


class PeakMemory:
    """Largest resident memory above that at the start, sampled every few milliseconds."""

    def __enter__(self) -> PeakMemory:
        self._process, self.extra = psutil.Process(), 0
        self._before = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.extra = max(self.extra, self._process.memory_info().rss - self._before)

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()


@click.command()
@click.option("--largest", default=10**7, show_default=True, help="Leave out sizes beyond.")
@click.option("--seeds", default=3, show_default=True, help="Instances a size; the slowest is shown.")
@click.option("--threads", default=2, show_default=True, help="BLAS threads.")
def main(largest: int, seeds: int, threads: int) -> None:
    """Print the slowest solve of each size, warm, with its certified gap."""
    print(f"numpy {np.__version__}, Python {sys.version.split()[0]}, {threads} threads")
    print(f"{'users':>10} {'clusters':>9} {'v_n':>6} {'seconds':>9} {'gap':>9} {'bytes a user':>13}  ended")
    JointExact().solve(Joint(sample(50, 3, 0, whole=True)), Limits())
    for users, clusters in SIZES:
        if users > largest:
            continue
        for whole in (True, False):
            slowest, gap, extra, ended = 0.0, 0.0, 0, set()
            for seed in range(seeds if users < 10**7 else 1):
                problem = Joint(sample(users, clusters, seed, whole=whole))
                with threadpool_limits(threads), PeakMemory() as memory:
                    start = time.perf_counter()
                    result = JointExact().solve(problem, Limits(time_s=120, memory_gb=20))
                    slowest = max(slowest, time.perf_counter() - start)
                if result.decision is None or result.bound is None:
                    raise SystemExit(f"{problem.label}: {users} users, seed {seed}: {result.termination.value}")
                gap, extra = max(gap, problem.gap(result.decision, result.bound)), max(extra, memory.extra)
                ended.add(result.termination.value)
            kind = "whole" if whole else "real"
            a_user = f"{extra / users:13.0f}" if users >= 10**5 else f"{'-':>13}"
            print(
                f"{users:10} {clusters:9} {kind:>6} {slowest:9.4f} {gap:9.1e} {a_user}  {', '.join(sorted(ended))}",
                flush=True,
            )
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
