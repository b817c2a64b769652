"""Families of processes: who descends from whom, what they hold in memory, and how they end together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINUX = sys.platform.startswith("linux")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


def _prctl(option: int, value: int) -> bool:
    return _LINUX and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0


def adopt_orphans() -> bool:
    """Let descendants whose parent ends become children of this process; return whether the system can (Linux)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def tell_end_of_parent(number: signal.Signals) -> None:
    """Let this process get a signal when its parent ends, where the system can (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def die_with(parent: int, alive: int) -> None:
    """Let this process, a child of ``parent``, be killed when its parent ends, however that ends.

    ``alive`` is the reading end of a pipe whose writing end only the parent holds: it tells of the end where the system
    has no signal for it.
    """
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        os.close(alive)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)
        return

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(alive, 1)
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def descendants(pid: int) -> list[int]:
    """Return the process ids of all that descend from a process, without its own."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            return []
    found, ahead = [], [pid]
    while ahead:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for task in Path(f"/proc/{ahead.pop()}/task").iterdir():
                children = [int(word) for word in (task / "children").read_bytes().split()]
                found += children
                ahead += children
    return found


def resident_memory(pids: Iterable[int]) -> int:
    """Return the bytes of memory that processes hold together; those that have ended count nothing."""
    total = 0
    for pid in pids:
        if _LINUX:
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * _PAGE
        else:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_info().rss
    return total


def kill(pids: Iterable[int]) -> None:
    """Kill processes, those that have ended already excepted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_descendants(patience_s: float = 5.0) -> None:
    """Kill and reap all that descend from this process, what is forked meanwhile too, for at most ``patience_s``."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        kill(descendants(os.getpid()))
        time.sleep(0.001)


def kill_marked(mark: str) -> None:
    """Kill every process whose environment holds ``mark``, wherever it hangs in the tree of processes."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and mark in process.environ().values():
                process.kill()
