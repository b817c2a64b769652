"""SCIP under Pyomo, telling its incumbents and bounds as it finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyomo.contrib.solver.solvers.scip.scip_direct import ScipDirect
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr

if TYPE_CHECKING:
    from hisopt.solvers.highs_progress import Tell


class ReportingScip(ScipDirect):  # type: ignore[misc]
    """Pyomo's SCIP with a listener.

    ``tell`` is called from within the solve, with whether the model's variables hold a new incumbent and with the dual
    bound, in the objective's own sense.
    """

    tell: Tell

    @classmethod
    def of(cls, tell: Tell) -> ReportingScip:
        """Return a solver that tells."""
        solver = cls()
        solver.tell = tell
        return solver

    def _create_solver_model(self, model: Any, config: Any) -> Any:
        made = super()._create_solver_model(model, config)
        columns = list(self._pyomo_var_to_solver_var_map.items())
        self._solver_model.includeEventhdlr(_Listener(columns, self.tell), "hisopt", "tells incumbents and bounds")
        return made


class _Listener(Eventhdlr):  # type: ignore[misc]
    def __init__(self, columns: list[tuple[Any, Any]], tell: Tell) -> None:
        self._columns, self._tell = columns, tell

    def eventinit(self) -> None:
        for kind in (SCIP_EVENTTYPE.BESTSOLFOUND, SCIP_EVENTTYPE.NODESOLVED):
            self.model.catchEvent(kind, self)

    def eventexit(self) -> None:
        for kind in (SCIP_EVENTTYPE.BESTSOLFOUND, SCIP_EVENTTYPE.NODESOLVED):
            self.model.dropEvent(kind, self)

    def eventexec(self, event: Any) -> None:
        new = event.getType() == SCIP_EVENTTYPE.BESTSOLFOUND
        if new:
            best = self.model.getBestSol()
            for variable, column in self._columns:
                variable.set_value(self.model.getSolVal(best, column), skip_validation=True)
        self._tell(new, self.model.getDualbound())
