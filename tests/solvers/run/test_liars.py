"""Every lie becomes a row that can be told, and none is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import Instance, Limits, Problem, SolutionStatus, Termination
from hisopt.commands.render import to_csv, to_json
from hisopt.commands.request import Setting
from hisopt.commands.tables import to_table
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.place import load_class
from hisopt.solvers.run.runner import Run, Runner, contradictions

if TYPE_CHECKING:
    from collections.abc import Iterator

LIARS = Path(__file__).with_name("liars.py")
CRASHED, REFUSED = Termination.CRASHED, SolutionStatus.INFEASIBLE

# what is said of each: the termination of a crash and its message, or the fault found in the decision, or what is refuted
CRASHES = {
    "impossible-bound": "its bound is -inf, which no decision meets",
    "huge-bound": "its bound is a number beyond the range of floats",
    "huge-fraction": "its bound is a number beyond the range of floats",
    "word-bound": "its bound is a str, not a number",
    "array-bound": "its bound is a ndarray, not a number",
    "huge-number-in-details": "not JSON values",
    "complex-bound": "its bound is a complex, not a number",
    "no-text": "its message is no text: RuntimeError",
    "half-a-character": "surrogates not allowed",
    "deep-details": "nested more than 20 deep",
    "long-details": "longer than 1048576 bytes",
    "nan-details": "not JSON values",
    "list-of-details": "they are a list, not a dict",
    "reduced": "Reduced is not JSON serializable",
    "a-word": "its termination is 'optimal', not a Termination",
    "a-dict": "its decision is a dict, not a Decision",
    "splash": "exited with code 0 and no result",
    "forged-pipe": "it is no regular file",
    "forged-link": "cannot be read",
    "forged-folder": "it is no regular file",
    "forged-bytes": "its header has a wrong length",
    "forged-size": "it has 1099511627776 bytes",
    "forged-arrays": "its arrays are not a decision's",
}
FAULTS = {
    "nan-sms": "sms: must be 3 finite numbers",
    "tiny-sms": "objective: is -inf, must be finite",
    "complex-sms": "sms: must be 3 finite numbers",
    "string-sms": "sms: must be 3 finite numbers",
    "many-sms": "sms: must be 3 finite numbers",
    "boolean-steps": "steps_edge: must be 10 integers",
    "object-steps": "steps_common: must be 10 integers",
    "float-steps": "steps_common: must be 10 integers",
    "masked-steps": "steps_common: must be 10 integers",
    "narrow-steps": "steps_common + steps_edge + steps_device (28f): user 0 has 285",
    "huge-steps": "steps_common: user ",
    "agreeable-steps": "steps_device (28d): user 0 has 0, must be in 1 .. 100",
    "masked-all": "steps_common: must be 10 integers",
    "short-steps": "steps_common: must be 10 integers",
    "negative-sms": "sms: cluster ",
    "sms-beyond": "sms (28e): sum ",
    "flat-steps": "steps_common: must be 10 integers",
    "foreign-clusters": "clusters: must be 10 integer labels",
}
REFUTED = {
    "infeasible-yet-solved": "claims infeasible and has a feasible decision",
    "bound-up": "claims an optimum that its bound does not prove",
    "bound-down": "beats its bound",
    "proof-of-nothing": "claims an optimum that its bound does not prove",
    "agreeable-bound": "beats its bound 1",
}
HARMLESS = (
    "long-message",
    "no-clock",
    "splash-and-answer",
    "wide-steps",
    "short-float-bound",
    "bound-within",
    "sms-within",
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HISOPT_TEST_MARKER", str(tmp_path_factory.mktemp("liars") / "parent_was_here"))
        with Runner(Limits(time_s=300)) as runner:
            yield runner


@pytest.fixture(scope="module")
def problem(small: Instance) -> Problem:
    """Steps of which a narrow sum, 3 times 95 modulo 256, is what is asked for."""
    steps = {"total": 29, "common_max": 95, "edge_max": 95, "device_min": 1, "device_max": 100}
    return Joint(small.replace(steps=steps, given_common=None, given_edge=None))


@pytest.fixture(scope="module")
def honest(runner: Runner, problem: Problem) -> Run:
    run = runner.run(problem, JointExact)
    assert run.termination is Termination.OPTIMAL
    return run


def told(runner: Runner, problem: Problem, lie: str) -> Run:
    run = runner.run(problem, load_class(f"{LIARS}:{''.join(map(str.capitalize, lie.split('-')))}"))
    assert not run.lost
    assert not Path(os.environ["HISOPT_TEST_MARKER"]).exists(), "an answer was executed"
    return run


@pytest.mark.parametrize("lie", [*CRASHES, *FAULTS, *REFUTED, *HARMLESS])
def test_lies_become_rows(runner: Runner, problem: Problem, honest: Run, lie: str) -> None:
    run = told(runner, problem, lie)
    setting = Setting(problem.instance, "small", True, 0)
    json.loads(to_json([(setting, [run, honest])], contradictions([run, honest]), []))
    assert to_csv([(setting, [run])])
    assert to_table([(setting, [run])], 120, colour=False, ascii_only=False)
    if lie in CRASHES:
        assert run.termination is CRASHED
        assert CRASHES[lie] in run.message
        assert (run.objective, run.bound, run.decision) == (None, None, None)
    elif lie in FAULTS:
        assert run.solution_status is REFUSED
        assert any(line.startswith(FAULTS[lie]) for line in run.violations), run.violations
        assert run.refuted == ("claims an optimum without a feasible decision",)
    elif lie in REFUTED:
        assert run.solution_status is SolutionStatus.FEASIBLE
        assert any(REFUTED[lie] in line for line in run.refuted)
    else:
        assert run.termination is Termination.OPTIMAL
        assert run.refuted == ()
        assert run.message.isprintable()
        assert len(run.message) <= 500
        assert run.objective == pytest.approx(honest.objective, rel=1e-8 if lie == "sms-within" else 0.0)


def test_a_claim_that_proves_itself_is_refuted_by_others(runner: Runner, problem: Problem, honest: Run) -> None:
    run = told(runner, problem, "self-proof")
    assert run.termination is Termination.OPTIMAL
    assert run.refuted == (), "nothing in itself is wrong"
    assert any("self-proof" in line for line in contradictions([run, honest]))


def test_a_clock_of_its_own_changes_nothing(runner: Runner, problem: Problem) -> None:
    seconds = told(runner, problem, "no-clock").seconds
    assert seconds is not None
    assert seconds >= 0.3


def test_decisions_arrive_as_plain_arrays(honest: Run) -> None:
    assert honest.decision is not None
    fields = vars(honest.decision)
    assert fields["policy"] is None, "which no decision on steps and SMs has"
    for name, value in fields.items():
        if name == "policy":
            continue
        assert type(value) is np.ndarray
        assert value.dtype == (np.float64 if name == "sms" else np.int64)
