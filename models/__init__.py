"""Declarative forms in Pyomo and CVXPY. A module has ``build`` (from a problem), ``insert`` (a decision into the model's
variables: a warm start, and the way its tests hold it to `hisopt.evaluate`) and ``extract`` (a decision out of them);
nothing here solves.
"""
