"""What a campaign costs beyond its solves: a campaign of many trivial ones, its records read again, and their report.

``python -m hisopt.experiments.benchmarks.campaign_overhead --solves 10000``. Every program is run as a user runs it. CPU
seconds are those of the program and all that it started, the solves themselves (which take next to nothing) and its start
among them; memory is that of the program that leads, early and at its end: does it grow?
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from hisopt.campaign.records import frame, read
from hisopt.commands.common import require_at_least, run_command, taking


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    solves: int
    jobs: int
    solver: str


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a program, and the megabytes that it itself held early and at its end."""

    wall_s: float
    cpu_s: float
    early_mb: float
    late_mb: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--solves", type=int, default=10_000, show_default=True, metavar="K")
@click.option("--jobs", type=int, default=2, show_default=True, metavar="J")
@click.option("--solver", default="no-sharing", show_default=True, metavar="NAME")
@taking(Options)
def _command(options: Options) -> None:
    """Measure a campaign of K trivial solves: overhead a solve, records read, report."""
    require_at_least(1, options, "solves", "jobs")
    with tempfile.TemporaryDirectory(prefix="hisopt-") as folder:
        _measure(options, Path(folder))


def _measure(options: Options, folder: Path) -> None:
    records = folder / "records"
    arguments = [
        "--preset",
        "small",
        "--seeds",
        str(options.solves),
        "--solver",
        options.solver,
        "--jobs",
        str(options.jobs),
    ]
    campaign = _run("compare", *arguments, "--records", str(records))
    start = time.process_time()
    table = frame(read([records]))
    reading = time.process_time() - start
    report = _run("report", str(records), "-o", str(folder / "report.html"))
    share = 1000 / len(table)
    print(json.dumps({"solves": len(table), "jobs": options.jobs, "cores": os.cpu_count(), "campaign": asdict(campaign),
                      "wall_ms_a_solve": share * campaign.wall_s, "cpu_ms_a_solve": share * campaign.cpu_s,
                      "reading_cpu_s": reading, "report": asdict(report),
                      "report_mb": (folder / "report.html").stat().st_size / 1e6}, indent=1))  # fmt: skip


def _run(command: str, *arguments: str) -> Cost:
    """Run one of hisopt's commands to its end."""
    before, start = os.times(), time.perf_counter()
    program = subprocess.Popen([sys.executable, "-m", "hisopt", command, *arguments])
    held: list[float] = []
    while program.poll() is None:
        try:
            if resident := psutil.Process(program.pid).memory_info().rss:  # none once it has ended
                held.append(resident / 1e6)
        except psutil.Error:
            break
        time.sleep(0.5)
    if program.wait() not in (0, 1):
        raise SystemExit(program.returncode)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    early = held[len(held) // 5] if held else 0.0
    return Cost(time.perf_counter() - start, cpu, early, held[-1] if held else 0.0)


if __name__ == "__main__":
    run_command(_command, "hisopt.experiments.benchmarks.campaign_overhead")
