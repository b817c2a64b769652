from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hisopt.errors import InputError
from hisopt.experiments.papers.dominance import VIEWS, Dominance, margins
from hisopt.experiments.papers.experiment import measured

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(4))
def test_his_is_ahead_of_what_restricts_it(seed: int) -> None:
    """At the same clusters and similarities every scheme but kept phases restricts HIS; as they are, all but that fall behind."""
    found = margins(seed, "small")
    for (view, name), margin in found.items():
        if name == "cached":
            assert margin < 0
        elif view != "same similarities":  # one cluster of all, granted the same phi_n, can be ahead
            assert margin >= -1e-7, (view, name)
    assert {view for view, _ in found} == set(VIEWS)


def test_the_report(tmp_path: Path) -> None:
    quick = Dominance.quick()
    text = quick.report(measured(quick, tmp_path))
    assert text.count("(1)") >= 15 and "same clusters" in text
    with pytest.raises(InputError, match="draws: is 0"):
        Dominance(draws=0)
