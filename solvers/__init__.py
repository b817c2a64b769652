"""Algorithms behind one interface, one algorithm a file; `hisopt.solvers.table` lists them."""
