"""HiGHS under Pyomo, told to stop by its callbacks and telling its incumbents and bounds as it finds them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyomo.contrib.solver.solvers.highs import Highs

if TYPE_CHECKING:
    from hisopt.solvers.base import Deadline

Tell = Callable[[bool, float], None]
_CHUNK = 2000  # constraints handed over between two looks at the clock


class ReportingHighs(Highs):  # type: ignore[misc]
    """Pyomo's HiGHS with a listener, and a deadline that holds inside the root relaxation, too.

    ``tell`` is called from within the solve, with whether the model's variables hold a new incumbent and with the dual
    bound. HiGHS looks at its own time limit only between some of its steps.
    """

    tell: Tell
    deadline: Deadline

    @classmethod
    def of(cls, tell: Tell, deadline: Deadline) -> ReportingHighs:
        """Return a solver that tells; not by ``__init__``, which Pyomo calls again for every model."""
        solver = cls()
        solver.tell, solver.deadline = tell, deadline
        return solver

    def _add_constraints(self, cons: list[Any]) -> None:
        for first in range(0, len(cons), _CHUNK):
            self.deadline.check()
            super()._add_constraints(cons[first : first + _CHUNK])

    def _solve(self) -> Any:
        highs, tell = self._solver_model, self.tell
        columns = [(self._vars[key][0], column) for key, column in self._pyomo_var_to_solver_var_map.items()]

        def stop(event: Any) -> None:
            if self.deadline.passed:
                event.interrupt()

        def improved(event: Any) -> None:
            values = event.data_out.mip_solution
            for variable, column in columns:
                variable.set_value(values[column], skip_validation=True)
            tell(True, event.data_out.mip_dual_bound)

        def logged(event: Any) -> None:
            tell(False, event.data_out.mip_dual_bound)

        with contextlib.ExitStack() as stack:
            for callback, function in (
                (highs.cbSimplexInterrupt, stop),
                (highs.cbIpmInterrupt, stop),
                (highs.cbMipInterrupt, stop),
                (highs.cbMipImprovingSolution, improved),
                (highs.cbMipLogging, logged),
            ):
                callback.subscribe(function)
                stack.callback(callback.unsubscribe, function)
            return super()._solve()
