"""``python -m hisopt.solvers.describe``: solvers/README.md, made from the registry."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from hisopt.solvers.registry import TABLE, on_request, registered

PLACE = Path(__file__).with_name("README.md")

_ABOVE = """# The solvers

Made from the registry by `python -m hisopt.solvers.describe`. The name is what `--solver` takes, options follow it
(`kmeans:restarts=50`). `exact`: proves optimality when it runs to its end; `bound`: a proven bound alone; `heuristic`;
`learned`. `pyomo` and `meg-policy` run only where they are asked for. The idea is the first line of the class's docstring;
the file says the source.

`base.py` what a solver is; `registry.py` the table; `backend.py` a model in a solver; `engines.py` HiGHS and SCIP;
`by_name.py` any solver of Pyomo; `run/` processes, limits and checks; `clustering/`, `allocation/`, `joint/`, `full/`,
`steps/`, `meg/` one wing a problem; `policy/` the users' steps as a game, its learners and its equilibria.

Where is: Algorithm 1 (HAC)? `clustering/hac.py`. The dual bound of `joint`? `joint/scalar_coupling.py`. Reward (33)?
`policy/rewards.py`. Theorem 1? `allocation/closed_form.py`. The law of SMs? `../hisopt/diffusion/sm_law.py`. The natural
MINLP? `../models/joint/natural.py`.
"""


def text() -> str:
    """Return the page."""
    parts = [_ABOVE]
    for kind in TABLE:
        parts += [f"\n## {kind}\n", "| solver | guarantee | options | idea | file |", "|---|---|---|---|---|"]
        for solver in (*registered(kind), *(requested() for requested in on_request(kind))):
            options = ", ".join(f"`{f.name}`" for f in fields(solver) if f.init) or "-"
            idea = " ".join((type(solver).__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
            file = "/".join(type(solver).__module__.split(".")[2:]) + ".py"
            parts.append(f"| `{solver.name}` | {solver.guarantee.value} | {options} | {idea} | `{file}` |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
