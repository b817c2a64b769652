"""The full problem as one nonlinear program, in SCIP."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problems import Full, Problem
from hisopt.solvers.backend import InScip

_MOST_USERS = 8  # beyond, SCIP finds nothing within minutes


@dataclass(frozen=True)
class FullScip(InScip[Full]):
    """The full problem as one mixed-integer nonlinear program in SCIP: an independent check for a handful of users.

    Without presolving, by which SCIP 10 cut off optima of this model.
    """

    name = "scip"
    problems = (Full,)
    form = "full"

    def serves(self, problem: Problem) -> bool:
        """The full problem with a public-prompt rule that has an algebraic form, for a handful of users."""
        return (
            isinstance(problem, Full)
            and problem.instance.users <= _MOST_USERS
            and problem.instance.public_prompt.rule in ("ideal", "affine")
        )
