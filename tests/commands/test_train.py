"""The command line that trains, from a user's stand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from hisopt.commands import solve
from hisopt.commands.train import main
from hisopt.solvers.policy import ippo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

QUICK = (
    "--preset",
    "small",
    "--hidden",
    "8",
    "--batch",
    "4",
    "--updates",
    "4",
    "--every",
    "2",
    "--held-out",
    "3",
    "--threads",
    "1",
)


@pytest.fixture
def train(call: Call) -> Iterator[Call]:
    """The command in this process, which keeps its own number of threads."""
    threads = torch.get_num_threads()
    yield lambda *arguments: call(main, *arguments)
    torch.set_num_threads(threads)


def test_a_policy_is_trained_and_solves(tmp_path: Path, call: Call) -> None:
    command = [sys.executable, "-m", "hisopt.train", *QUICK, "--tuned"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "gap to the optimum" in done.stderr
    curve = json.loads((tmp_path / "policy.json").read_text())
    assert [row["update"] for row in curve] == [2, 4]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]
    solved = call(
        solve.main, "--problem", "joint", "--sms", "real", "--solver", "exact", "--solver", "ippo",
        "--policy", "policy.safetensors", "--format", "json",
    )  # fmt: skip
    assert solved.returncode == 0
    runs = {run["solver"].partition(":")[0]: run for run in json.loads(solved.stdout)["runs"]}
    assert runs["ippo"]["solution_status"] == "feasible"
    assert runs["ippo"]["message"] == "trained on small, N = 10, reward coalition"
    assert runs["ippo"]["objective"] <= runs["exact"]["objective"] * (1 + 1e-9)


def test_a_stopped_run_goes_on(tmp_path: Path, train: Call) -> None:
    stopped = train(*QUICK, "--time-limit", "0")
    assert stopped.returncode == 0
    assert "out of time after 1 updates" in stopped.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "policy.json", "policy.safetensors", "policy.safetensors.checkpoint"
    ]  # fmt: skip
    assert len(ippo.load(tmp_path / "policy.safetensors").actor.weights) == 2
    finished = train(*QUICK)
    assert "taking up policy.safetensors.checkpoint after 1 updates" in finished.stderr
    assert not (tmp_path / "policy.safetensors.checkpoint").exists()
    written = (tmp_path / "policy.safetensors").stat().st_mtime_ns
    again = train(*QUICK)
    assert again.returncode == 0
    assert "trained with these settings before" in again.stdout
    other = train(*QUICK, "--seed", "1")
    assert other.returncode == 2
    assert "a policy of other settings (seed 0 there, 1 here)" in other.stderr
    assert (tmp_path / "policy.safetensors").stat().st_mtime_ns == written


def test_an_interruption_before_the_first_checkpoint_saves_one(tmp_path: Path, train: Call) -> None:
    """The signal arrives while the first update runs: it ends, and what it learned is kept."""
    program = (
        "import os, signal, sys\n"
        "from hisopt import train\n"
        "from hisopt.solvers.policy import ippo\n"
        "step = ippo.Trainer.step\n"
        "def interrupted(self):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return step(self)\n"
        "ippo.Trainer.step = interrupted\n"
        f"sys.argv = ['train', *{[*QUICK]!r}]\n"
        "train.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 130, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["policy.safetensors.checkpoint"]
    assert "after 1 updates" in train(*QUICK).stderr


def test_the_icc_model_is_trained(tmp_path: Path, train: Call) -> None:
    arguments = ("--algorithm", "hid", "--users", "6", *QUICK[2:])
    assert train(*arguments).returncode == 0
    settings, updates = ippo.trained_updates(tmp_path / "policy.safetensors")
    assert (settings.learning_rate, settings.reward_scale, settings.reward, updates) == (0.0005, "return", "team", 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--reward", "other"), "reward: is 'other'"),
        (("--hidden", "a"), "not a list of whole numbers"),
        (("--weights", "1,2"), "not three numbers"),
        (("--preset", "icc"), "algorithm: 'ippo' does not fit"),
        (("--device", "tpu"), "--device"),
        (("--output", "no/where/p.safetensors"), "--output"),
        (("--updates", "0"), "updates: is 0"),
        (("--held-out", "0"), "--held-out"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str, train: Call) -> None:
    done = train(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
