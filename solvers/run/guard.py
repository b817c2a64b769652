"""The guard of a server of solver processes: its parent, which outlives it and cleans up whoever is killed.

The runner starts the guard, in a session of its own; the guard makes the folder of results and forks the server. What a
solver leaves behind, in other sessions too and whatever it did to its environment, becomes a child of the server, or of
the guard once the server has ended (`adopt_orphans`). When the runner or the server ends, however it ends, the guard kills
all that descends from it and removes the folder. When the guard is killed the server does (`serve`), and where all three
are killed at once the next guard does: folders are locked by those who live.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import tempfile
from pathlib import Path

from hisopt.solvers.run.processes import adopt_orphans, end_descendants, kill_marked

PREFIX = "hisopt-server-"
_POLL_S = 0.25


def claimed(folder: Path) -> int:
    """Make a folder that is locked from the moment it has its name; return the lock, held by all who inherit it."""
    draft = folder.with_name(f".{folder.name}")
    draft.mkdir(mode=0o700)
    lock = os.open(draft, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps it either
        fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder)
    return lock


def sweep(place: Path) -> None:
    """Remove folders of ours that nobody holds, and kill what still runs under their marks."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_uid == os.getuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    kill_marked(folder.name.removeprefix(PREFIX))
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def guarded(folder: Path, runner: int) -> int:
    """Return the folder's lock in a new process, the server; the process that calls stays as its guard and never returns."""
    adopting = adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides what an interrupt means
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    sweep(Path(tempfile.gettempdir()))
    lock = claimed(folder)
    server = os.fork()
    if server == 0:
        signal.set_wakeup_fd(-1)
        os.close(woken)
        os.close(wake)
        return lock
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)  # the server alone holds the pipes to the runner, which sees them close
    os.dup2(nothing, 1)
    while os.getppid() == runner:
        if select.select([woken], [], [], _POLL_S)[0] and (
            signal.SIGTERM in os.read(woken, 4096) or os.waitpid(server, os.WNOHANG)[0]
        ):
            break
    end_descendants()
    if not adopting:
        kill_marked(folder.name.removeprefix(PREFIX))
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
