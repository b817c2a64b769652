"""The process that solves: a server that imports each library once, and forks and supervises a child for every request."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from time import monotonic, perf_counter  # by name: a solver may put others in their places
from typing import TYPE_CHECKING, Any, NoReturn

from hisopt.result import Limits, SolverResult, Termination
from hisopt.solvers.base import PARTS
from hisopt.solvers.run.answers import nonsense, packed, told, write_whole
from hisopt.solvers.run.guard import guarded
from hisopt.solvers.run.place import VERBOSE, Place, found_at, line_of
from hisopt.solvers.run.processes import (
    adopt_orphans,
    descendants,
    die_with,
    end_descendants,
    kill,
    resident_memory,
    tell_end_of_parent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE_S = 3.0  # on top of the time limit, before a solve is killed
_POLL_S = 0.02
_OWN = (
    "hisopt.problems",
    "hisopt.solvers.run.progress",
    "numpy.ma",
    "numpy.random",
)  # NumPy imports two of its parts late


def serve() -> None:
    """Answer requests from standard input until it closes, or the process that asks is gone.

    The arguments are the folder to keep results in and the asking process. The process splits in two: a guard, which makes
    the folder and removes it in the end (`hisopt.solvers.run.guard`), and its child, which answers. A request is its
    length (8 bytes) and a pickle of (problem, solver's place, limits, seconds for imports, folder of the solve). An answer
    is a line of JSON: the first says that the server is there, each other how a child ended. What our own solvers need is
    imported here, once, before the first of them is forked; of the large libraries that others import in their children,
    before the next fork.
    """
    folder = Path(sys.argv[1])
    guard = os.getpid()
    lock = guarded(folder, int(sys.argv[2]))
    _Server(folder, lock, guard).run()


class _Server:
    def __init__(self, folder: Path, lock: int, guard: int) -> None:
        self._folder, self._lock, self._parent = folder, lock, guard
        self._prepared: set[str] = set()  # places of our own solvers whose imports are made
        self._used: set[str] = set()  # packages that children imported
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._leave)
        tell_end_of_parent(signal.SIGTERM)
        adopt_orphans()
        self._requests, self._answers = os.dup(0), os.dup(1)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(self._nothing, 0)
        os.dup2(self._nothing, 1)  # solvers may print; results go by file
        self._alive, self._living = os.pipe()  # closes when this process ends
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wake = wake

    def run(self) -> None:
        self._preload()
        self._answer({"ready": True})
        while True:
            problem, place, limits, start_s, folder = pickle.loads(self._request())  # from our own parent
            self._prepare(place)
            answer = self._solve(problem, place, limits, start_s, Path(folder))
            end_descendants()  # whatever the solve left behind, in other sessions too
            self._answer(answer)

    def _preload(self) -> None:
        with self._importing():
            for module in _OWN:
                with contextlib.suppress(ImportError):
                    import_module(module)

    def _prepare(self, place: tuple[Place, dict[str, Any]]) -> None:
        """Import once, here, what this solve needs, instead of in each child; a child tells what fails."""
        where, options = place
        modules = [module for package in self._used for module in PARTS[package] if module not in sys.modules]
        own = isinstance(where, str) and where.startswith("hisopt.") and where not in self._prepared
        if not modules and not own:
            return
        with self._importing():
            for module in modules:
                with contextlib.suppress(ImportError):
                    import_module(module)
            if own and isinstance(where, str):
                self._prepared.add(where)
                with contextlib.suppress(Exception):
                    found_at(where)(**options).prepare()

    @contextlib.contextmanager
    def _importing(self) -> Iterator[None]:
        """Look now and then, while something is imported, whether anyone still waits for it; leave it ready to be forked."""

        def look(*_: object) -> None:
            poll = select.poll()
            poll.register(self._requests, 0)
            if poll.poll(0) or os.getppid() != self._parent:
                self._leave()

        signal.signal(signal.SIGALRM, look)
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(os.environ["OMP_NUM_THREADS"]))  # children inherit it; looking again costs each 10 ms
        gc.collect()
        gc.freeze()

    def _leave(self, *_: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)

    def _request(self) -> bytes:
        while not select.select([self._requests], [], [], 1.0)[0]:
            if os.getppid() != self._parent:
                self._leave()
        return self._received(int.from_bytes(self._received(8), "little"))

    def _received(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = os.read(self._requests, min(size - len(data), 1 << 20))
            if not piece:
                self._leave()
            data += piece
        return bytes(data)

    def _answer(self, answer: dict[str, Any]) -> None:
        try:
            os.write(self._answers, json.dumps(answer).encode() + b"\n")
        except OSError:
            self._leave()

    def _solve(
        self, problem: Any, place: tuple[Place, dict[str, Any]], limits: Limits, start_s: float, folder: Path
    ) -> dict[str, Any]:
        folder.mkdir()
        begins, begin = os.pipe()
        server = os.getpid()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setsid()
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
                    signal.signal(number, signal.SIG_DFL)
                held = (self._requests, self._answers, self._woken, self._wake, self._living, self._lock)
                for unused in (*held, begins):
                    os.close(unused)
                die_with(server, self._alive)
                os.dup2(2 if os.environ.get(VERBOSE) else self._nothing, 1)
                os.dup2(1, 2)
                _solve(problem, place, limits, folder, begin)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                _flush()
                os._exit(code & 0xFF)
        os.close(begin)
        try:
            return self._supervise(child, begins, limits, start_s)
        finally:
            os.close(begins)

    def _supervise(self, child: int, begins: int, limits: Limits, start_s: float) -> dict[str, Any]:
        """Wait for a child; kill it and its kin where it passes a limit."""
        forked, began, ended = monotonic(), None, None
        waited, killed, peak = [begins], None, 0
        while True:
            ready = select.select([self._requests, self._woken, *waited], [], [], _POLL_S)[0]
            now = monotonic()
            if self._requests in ready or os.getppid() != self._parent:
                self._leave()  # nothing is asked while a solve runs: the pipe has closed
            if begins in ready:
                word = os.read(begins, 4096).decode(errors="replace")
                began, waited = (now if word else None), []
                self._used |= set(word.split()) & set(PARTS)
            if self._woken in ready:
                os.read(self._woken, 4096)
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                ended = now
                break
            if ready:
                continue
            family = [child, *descendants(os.getpid())]
            peak = max(peak, resident_memory(set(family)))
            if killed is None:
                if peak > limits.memory_gb * 1e9:
                    killed = "memory"
                elif began is not None and now - began > limits.time_s + GRACE_S:
                    killed = "time"
                elif began is None and now - forked > start_s:
                    killed = "start"
            if killed is not None:
                kill(family)
        own = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = None if began is None else ended - began
        return {"status": status, "killed": killed, "peak": max(peak, own), "seconds": seconds}


def _solve(problem: Any, place: tuple[Place, dict[str, Any]], limits: Limits, folder: Path, begin: int) -> None:
    seconds = None
    temporary = folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)  # what a killed solver leaves goes with the solve
    try:
        from hisopt.solvers.run.progress import Writer, listening

        where, options = place
        solver = found_at(where)(**options)
        solver.prepare()
        used = [package for package, modules in PARTS.items() if modules[0] in sys.modules]
        os.write(begin, " ".join(["begun", *used]).encode())
        os.close(begin)
        start = perf_counter()
        with listening(Writer(problem, folder, lambda: perf_counter() - start)):
            result = solver.solve(problem, limits)
        seconds = perf_counter() - start
    except MemoryError:
        result = SolverResult(Termination.MEMORY_LIMIT, message="out of memory")
    except Exception as error:
        if os.environ.get(VERBOSE):
            traceback.print_exc()
        result = nonsense(f"{told(error)}{line_of(error)}")
    write_whole(folder / "answer", packed(problem, result, seconds))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
