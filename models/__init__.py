"""Declarative formulations in Pyomo and CVXPY. Each has a ``build`` and an ``extract``; none solves."""
