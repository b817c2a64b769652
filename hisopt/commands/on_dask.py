"""A campaign on the workers of a Dask cluster that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.commands import remote
from hisopt.commands.engine import Engine, not_kept
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.commands.campaign import Task
    from hisopt.commands.engine import Named
    from hisopt.commands.remote import Request

_CONNECT_S = 10.0
_WORKERS_S = 30.0  # without any worker, before a campaign ends
_LOOK_S = 5.0  # between two looks at whether there are workers
_TRIES = 3  # of a solve whose worker, or whose process beside the worker, was lost


class Dask(Engine):
    """Workers of a cluster, each with as many solves at a time as it has threads.

    A worker solves nothing in its own process: beside it runs a server that forks a child for each solve and ends it with
    all that it started, and that ends when the worker does, however that ends. So memory limits hold although a nanny
    counts only its worker's own memory, and daemonic workers can have it. What a lost worker was solving is solved again
    by another; records are written here, once each.
    """

    keeps = False

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"[^\s/:]+:\d{1,5}", address) and not re.fullmatch(r"\[[0-9a-fA-F:]+\]:\d{1,5}", address):
            raise InputError(f"--on: is 'dask://{address}', must be dask://HOST:PORT")
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise InputError(
                f"--on dask: needs {error.name}: install the extra 'cluster' (pip install 'hisopt[cluster]')"
            ) from None
        for name in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said in our own words
        try:
            self._client = Client(f"tcp://{address}", timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise InputError(f"--on: dask://{address}: cannot be reached: {reason}") from None
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            self._client.close()
            raise InputError(f"--on: dask://{address}: the scheduler has no workers") from None
        threads = self._client.nthreads()
        workers = len(threads)
        self._campaign = secrets.token_hex(8)
        self.about = (
            f"{sum(threads.values())} solves at a time on {workers} worker{'s' if workers > 1 else ''} of dask://{address}, "
            "so that times are those of shared machines"
        )

    @override
    def run(self, tasks: Iterator[Named]) -> Iterator[dict[str, Any]]:
        pending: dict[Any, tuple[Task, Request, int]] = {}

        def submit(task: Task, request: Request, tried: int) -> None:
            future = self._client.submit(
                _solve, request, self._campaign, pure=False, key=f"hisopt-{self._campaign}-{request.key}-{tried}"
            )
            pending[future] = task, request, tried

        def fill() -> None:
            most = 2 * self._threads()
            while len(pending) < max(most, 1) and (named := next(tasks, None)) is not None:
                submit(named[1], remote.Request.of(*named), 1)

        fill()  # and again whenever one has ended, for as many workers as there are by then
        while pending:
            future = self._ended(list(pending))
            task, request, tried = pending.pop(future)
            try:
                error = future.exception()
                record = future.result() if error is None else None
            except (asyncio.CancelledError, futures.CancelledError):
                raise _gone("the scheduler went away") from None
            if record is not None:
                future.release()
                yield record
            elif isinstance(error, remote.Different):
                raise InputError(f"--on: {error}")
            elif tried < _TRIES:
                submit(task, request, tried + 1)
            else:
                not_kept(task, f"{type(error).__name__}: {error}")
            fill()

    def _threads(self) -> int:
        """How many threads all workers have; none where the scheduler does not answer."""
        from distributed.comm.core import CommClosedError

        with contextlib.suppress(OSError, CommClosedError, TimeoutError):
            return sum(self._client.nthreads().values()) if self._client.status == "running" else 0
        return 0

    def _ended(self, pending: list[Any]) -> Any:
        """Wait for one of some futures to end, and return it; raise `InputError` where no worker is left to solve them."""
        from distributed import wait

        seen = time.monotonic()
        while True:
            try:
                with self._client.as_current():
                    return next(iter(wait(pending, timeout=_LOOK_S, return_when="FIRST_COMPLETED").done))
            except TimeoutError:
                pass
            except (asyncio.CancelledError, futures.CancelledError):
                raise _gone("the scheduler went away") from None
            if self._threads():
                seen = time.monotonic()
            elif time.monotonic() - seen >= _WORKERS_S:
                raise _gone("no workers are left" if self._client.status == "running" else "the scheduler went away")

    @override
    def close(self) -> None:
        from distributed.comm.core import CommClosedError

        if self._client.status == "running":  # else workers forget by themselves
            with contextlib.suppress(OSError, CommClosedError, TimeoutError):
                self._client.run(remote.forget, self._campaign, on_error="ignore")
        with contextlib.suppress(TimeoutError):
            self._client.close(timeout=5)


def _gone(what: str) -> InputError:
    return InputError(f"--on: {what}; what was solved is kept, the same call goes on")


def _solve(request: Request, campaign: str) -> dict[str, Any]:
    """Solve a request, in a thread of a worker."""
    from distributed import get_worker

    jobs = get_worker().state.nthreads
    with remote.kept(campaign, request.limits, jobs).runner() as runner:
        return remote.solve(request, runner, shared=True, engine="dask")
