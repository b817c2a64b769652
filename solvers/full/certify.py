"""Certificates of bounds on the full problem: the prices, slopes and matrices that prove what `type-bound` says.

`hisopt.type_bound_certificate` says what they prove and computes the bound anew, without this package's solvers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.errors import InputError
from hisopt.solvers.base import Deadline
from hisopt.solvers.full import enumerated_types
from hisopt.solvers.full.cluster_types import TypeBounds, excess_of
from hisopt.solvers.full.enumerated_types import EnumeratedTypes
from hisopt.solvers.full.type_bound import MAX_USERS, PriceSearch

if TYPE_CHECKING:
    from hisopt.problems import Full
    from hisopt.result import Limits
    from hisopt.solvers.full.direction import ExcessBound

_DIGITS = 4  # of entries of R, which are about 1


def certify(problem: Full, limits: Limits) -> dict[str, Any]:
    """Return a certificate, plain JSON values, that no decision is worth more than the ``bound`` in it.

    Raises
    ------
    InputError
        For more users than `type-bound` serves, or where time runs out before the first bound.
    """
    instance, deadline = problem.instance, Deadline(limits)
    if instance.users > MAX_USERS:
        raise InputError(f"certificate: {instance.users} users, at most {MAX_USERS} can be bounded")
    few = instance.users <= enumerated_types.MAX_USERS
    return certificate_of(
        EnumeratedTypes(instance) if few else TypeBounds(instance, excess_of(instance, deadline)), deadline
    )


def certificate_of(bounds: TypeBounds, deadline: Deadline) -> dict[str, Any]:
    """Search prices for the best bound of types, and keep what proves it."""
    search = PriceSearch(bounds, deadline, -np.inf)
    search.run()
    if not np.isfinite(search.best):
        raise InputError("certificate: no bound was found in time")
    found: dict[str, Any] = {"bound": search.best, "user_prices": search.prices.tolist()}
    if isinstance(bounds, EnumeratedTypes):
        return found | {"sets": True}
    commons = range(bounds.instance.steps.common_max + 1)
    one, every = ([_proof(proofs[i]) for proofs in bounds.excess.proofs] for i in (0, 1))
    return found | {
        "thresholds": bounds.excess.threshold.tolist(), "excess_prices": search.excess.tolist(),
        "slopes": [[beta.tolist() for beta in bounds.slopes_at(x, search.excess)] for x in commons],
        "one": one, "all": every,
    }  # fmt: skip


def _proof(bound: ExcessBound) -> dict[str, Any] | None:
    return None if bound.rows is None else {"r": bound.r, "rows": np.round(bound.rows, _DIGITS).tolist()}
