"""Algorithms behind one interface, one algorithm a file; `hisopt.solvers.registry` lists them."""
