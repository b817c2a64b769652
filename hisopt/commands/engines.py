"""Where a campaign's solves run: this machine, or a cluster by the word for it."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.commands.campaign import flat
from hisopt.commands.engine import Engine, not_kept
from hisopt.errors import InputError
from hisopt.result import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hisopt.campaign.plan import Plan
    from hisopt.commands.engine import Named
    from hisopt.solvers.run.runner import Run


def engine_of(on: str, plan: Plan, jobs: int, folder: Path) -> Engine:
    """Return the engine that ``--on`` names; raise `InputError` where there is none, or it cannot be reached."""
    if on == "local":
        return Local(plan, jobs)
    if on.startswith("dask://"):
        from hisopt.commands.on_dask import Dask

        return Dask(on.removeprefix("dask://"))
    if on.partition(":")[0] in ("slurm", "slurm-local"):
        from hisopt.commands.on_slurm import Slurm

        return Slurm(on, plan, folder)
    raise InputError(f"--on: is {on!r}, must be local, dask://HOST:PORT or slurm[:partition=NAME,...]")


class Local(Engine):
    """This machine, ``jobs`` solves at a time."""

    keeps = False

    def __init__(self, plan: Plan, jobs: int) -> None:
        from hisopt.solvers.run.runner import Runner

        self._jobs = jobs
        self._runner = Runner(Limits(memory_gb=plan.memory_limit, threads=plan.threads), jobs)
        self._pool = ThreadPoolExecutor(jobs)
        self.about = f"{jobs} solve{'s' if jobs > 1 else ''} at a time on this machine"
        if jobs > 1:
            self.about += ", so that times are those of a shared one"

    @override
    def run(self, tasks: Iterator[Named]) -> Iterator[dict[str, Any]]:
        pending: dict[Future[Run], Named] = {}
        for key, task in tasks:
            pending[self._pool.submit(self._runner.run, task.problem, task.solver, task.limits)] = key, task
            if len(pending) > 2 * self._jobs:
                yield from self._ended(pending)
        while pending:
            yield from self._ended(pending)

    def _ended(self, pending: dict[Future[Run], Named]) -> Iterator[dict[str, Any]]:
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            key, task = pending.pop(future)
            run = future.result()
            if run.lost:
                not_kept(task, run.message)
            else:
                yield flat(task, key, run, shared=self._jobs > 1, engine="local")

    @override
    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._runner.__exit__()
        self._pool.shutdown()
