"""Policies for MEG from the command line: trained, solved with, compared; what does not fit is told in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from hisopt import InputError, Limits, Meg, MegInstance, Termination, save
from hisopt.commands.solve import _command as solve
from hisopt.commands.train import _command as train
from hisopt.instances import MegChannel
from hisopt.solvers.meg.learned import MegPolicy, policy_solver
from hisopt.solvers.meg.learning import network, write_policy

if TYPE_CHECKING:
    from pathlib import Path

SMALL = MegInstance(
    channel=MegChannel.uniform_distance(4), steps=np.array([4.0, 8.0, 12.0]), ratios=np.array([0.0, 0.5])
)


@pytest.mark.parametrize("algorithm", ["cvpo", "ppo-lagrangian"])
def test_a_policy_is_trained_and_solves(algorithm: str, tmp_path: Path) -> None:
    file = tmp_path / "p.safetensors"
    done = CliRunner().invoke(
        train, ["--algorithm", algorithm, "--updates", "3", "--batch", "256", "--threads", "1", "--output", str(file)]
    )
    assert done.exit_code == 0, done.exception
    assert "update 2 of 3: " in done.stderr and "below the optimum" in done.stdout
    arguments = ["--preset", "meg", "--solver", "dual", "--policy", str(file), "--format", "json"]
    solved = CliRunner().invoke(solve, arguments)
    assert solved.exit_code == 0, solved.exception
    runs = {run["solver"].partition(":")[0]: run for run in json.loads(solved.stdout)["runs"]}
    assert runs["meg-policy"]["solution_status"] == "feasible" and runs["meg-policy"]["guarantee"] == "learned"
    assert runs["meg-policy"]["objective"] < runs["dual"]["objective"]


def written(folder: Path, actions: int, seed: int = 0) -> str:
    import torch

    torch.manual_seed(seed)
    write_policy(folder / "p.safetensors", network(1, actions, 8), Meg(SMALL), {})
    return str(folder / "p.safetensors")


@pytest.mark.parametrize(
    "change", [{}, {"latency_cap_s": 2.5}, {"energy_limit_j": 1300.0}], ids=["as is", "cap", "tight"]
)
def test_a_policy_is_moved_within_the_limits(change: dict[str, Any], tmp_path: Path) -> None:
    problem = Meg(SMALL.replace(**change))
    found = policy_solver(written(tmp_path, 6)).solve(problem, Limits())
    assert found.decision is not None and problem.evaluate(found.decision).feasible
    assert ("moved within the limits" in found.message) == ("latency_cap_s" not in change)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    found = MegPolicy(policy=written(tmp_path, 5)).solve(Meg(SMALL), Limits())
    assert found.termination is Termination.UNAVAILABLE
    assert found.message == "the policy chooses among 5 actions, the instance has 6"
    found = MegPolicy(policy=written(tmp_path, 6)).solve(Meg(SMALL.replace(latency_limit_s=1.0)), Limits())
    assert found.decision is None and found.message == "the thriftiest actions do not meet the limits"
    save(SMALL, tmp_path / "i.json")
    for arguments, words in (
        ([str(tmp_path / "i.json"), "--policy", str(tmp_path / "none")], "no such file"),
        ([str(tmp_path / "i.json"), "--policy", str(tmp_path / "i.json")], "not a policy of MEG"),
    ):
        error = CliRunner().invoke(solve, arguments).exception
        assert isinstance(error, InputError) and words in str(error)
    for arguments, words in (
        (["--users", "3"], "--users: means nothing for cvpo"),
        (["--tuned"], "--tuned: means nothing for cvpo"),
        (["--preset", "paper"], "--preset: 'paper' is none of meg"),
        (["--updates", "0"], "--updates: is 0, must be >= 1"),
    ):
        error = CliRunner().invoke(train, ["--algorithm", "cvpo", *arguments]).exception
        assert isinstance(error, InputError) and words in str(error)
