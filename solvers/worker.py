"""The process that solves: a server that imports the libraries once, and forks a child for every request."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import resource
import signal
import struct
import sys
import time
import traceback
from importlib import import_module

from hisopt.result import SolverResult, Termination
from hisopt.solvers.place import VERBOSE, found_at, line_of

_PRELOAD = (
    "scipy.sparse.linalg",
    "scipy.cluster.hierarchy",
    "pyomo.environ",
    "highspy",
    "pyscipopt",
    "cvxpy",
    "sklearn.cluster",
)


def serve() -> None:
    """Answer requests from standard input until it closes.

    A request is its length (8 bytes) and a pickle of (problem, solver's place, limits, path of the response). The
    answers are two numbers of 8 bytes: the child's process id and, at its end, its wait status.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # solvers may print; results go by file
    preloaded = False
    while header := requests.read(8):
        request = requests.read(struct.unpack("<Q", header)[0])
        if not preloaded:
            for module in _PRELOAD:
                with contextlib.suppress(ImportError):
                    import_module(module)
            gc.freeze()
            preloaded = True
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                os.dup2(2 if os.environ.get(VERBOSE) else nothing, 1)
                os.dup2(1, 2)
                _solve(request)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                _flush()
                os._exit(code & 0xFF)
        os.write(answers, struct.pack("<q", child))
        _, status = os.waitpid(child, 0)
        os.write(answers, struct.pack("<q", status))


def _solve(request: bytes) -> None:
    problem, place, limits, response = pickle.loads(request)  # from our own parent
    seconds, result = None, None
    try:
        from threadpoolctl import threadpool_limits

        solver = found_at(place)()
        solver.prepare()
        with threadpool_limits(limits.threads):
            start = time.perf_counter()
            result = solver.solve(problem, limits)
            seconds = time.perf_counter() - start
        if not isinstance(result, SolverResult):
            result = _crash(f"returned {type(result).__name__}, not a SolverResult")
    except MemoryError:
        result = SolverResult(Termination.MEMORY_LIMIT, message="out of memory")
    except Exception as error:
        if os.environ.get(VERBOSE):
            traceback.print_exc()
        result = _crash(f"{type(error).__name__}: {error}{line_of(error)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        data = pickle.dumps((seconds, peak, result))
    except Exception as error:
        data = pickle.dumps((seconds, peak, _crash(f"its result cannot be sent: {error}")))
    with open(response + ".part", "wb") as file:
        file.write(data)
    os.replace(response + ".part", response)


def _crash(reason: str) -> SolverResult:
    return SolverResult(Termination.CRASHED, message=" ".join(reason.split())[:500])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
