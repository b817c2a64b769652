"""Minimum sum-of-squares clustering of any points: exact search, heuristics, bounds for thousands, an estimator."""
