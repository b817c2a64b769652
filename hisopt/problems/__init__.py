"""Problems: what is to be decided, with all the data that it takes, and the only place where decisions are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisopt.errors import InputError
from hisopt.problems.allocation import Allocation
from hisopt.problems.base import Evaluation, Problem
from hisopt.problems.clustering import CRITERIA, Clustering, Criterion, Sizes, sizes_of
from hisopt.problems.full import Full
from hisopt.problems.joint import Joint
from hisopt.problems.meg import Meg
from hisopt.problems.steps import Steps
from hisopt.problems.sum_of_squares import SumOfSquares

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.instances import AnyInstance

PROBLEMS: dict[str, type[Problem]] = {
    problem.kind: problem for problem in (Clustering, Allocation, Joint, Full, Steps, Meg)
}
WITH_SMS = (Allocation, Joint, Full)
__all__ = [
    "CRITERIA", "PROBLEMS", "WITH_SMS", "Allocation", "Clustering", "Criterion", "Evaluation", "Full", "Joint", "Meg", "Problem",
    "Sizes", "Steps", "SumOfSquares", "problem_of", "sizes_of",
]  # fmt: skip


def problem_of(
    kind: str, instance: AnyInstance, criterion: Criterion | None = None, *, whole_sms: bool = False
) -> Problem:
    """Return the problem of a kind on an instance; raise `InputError` where there is none.

    ``criterion`` goes with ``clustering`` alone, ``whole_sms`` with the problems that decide SMs.
    """
    if kind not in PROBLEMS:
        raise InputError(f"problem {kind!r}: must be one of {', '.join(PROBLEMS)}")
    problem = PROBLEMS[kind]
    if (problem is Clustering) != (criterion is not None):
        raise InputError(f"criterion {criterion!r}: clustering takes one of {', '.join(CRITERIA)}, others none")
    if criterion is not None:
        return Clustering.of(instance, criterion)
    if problem not in WITH_SMS and whole_sms:
        raise InputError(f"problem {kind}: has no SMs")
    model = type(instance).model
    if problem.model != model:
        defined = ", ".join(name for name, one in PROBLEMS.items() if one.model == model)
        raise InputError(
            f"problem {kind}: not defined for an instance of the model {model!r}; defined for it: {defined}"
        )
    options = {"whole_sms": whole_sms} if problem in WITH_SMS else {}
    make: Callable[..., Problem] = problem
    return make(instance, **options)
