"""What records of solves say: profiles, means, integrals, intervals and tests. Pandas in, pandas out.

Functions take a matrix of costs, one row a task and one column a solver, NaN where a solver failed (`costs`), or the
records themselves, one row a solve, with the columns of `hisopt.campaign.records.flat`.
"""

from hisopt.analysis.contradictions import contradictions
from hisopt.analysis.costs import (
    at_limit,
    costs,
    reference,
    relative_gaps,
    shifted_geometric_mean,
    win_tie_loss,
    without_solution,
)
from hisopt.analysis.profiles import data_profile, performance_profile
from hisopt.analysis.statistics import holm, intervals, iqm, iqm_intervals, over_seeds, wilcoxon
from hisopt.analysis.trajectories import gap_over_time, integrals

__all__ = [
    "at_limit", "contradictions", "costs", "data_profile", "gap_over_time", "holm", "integrals", "intervals", "iqm",
    "iqm_intervals", "over_seeds", "performance_profile", "reference", "relative_gaps", "shifted_geometric_mean",
    "wilcoxon", "win_tie_loss", "without_solution",
]  # fmt: skip
