"""``python -m hisopt.fit``: quality coefficients (HIQM) from CLIP scores by least squares."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import run_command, taking
from hisopt.commands.tables import grid
from hisopt.diffusion.similarity_bins import BINS, nearest_bin, parse_bins

if TYPE_CHECKING:
    import pandas as pd

    from hisopt.arrays import FloatArray, IntArray

_START = (0.2, 0.3, 16.0, 0.1)  # L, K, B, G
_NAMES = ("L", "K", "B", "G")
_GRID = ", ".join(map(str, BINS))


def hiqm(steps: FloatArray, scale: float, slope: float, middle: float, floor: float) -> FloatArray:
    """Q(x) = L / (1 + exp(K (x - B))) + G, (7)."""
    import numpy as np

    return np.asarray(scale / (1 + np.exp(slope * (steps - middle))) + floor)


def fit_bin(steps: FloatArray, scores: FloatArray, pairs: IntArray | None = None) -> dict[str, Any]:
    """Fit one similarity bin; coefficients, standard errors, rmse and the number of scores.

    Parameters
    ----------
    steps, scores
        Common steps and scores, shape (n,).
    pairs
        Which pair of a public and a personal prompt each score belongs to, shape (n,). Scores of a pair share its prompts and
        are correlated over seeds and steps: standard errors are then clustered by pair (Liang and Zeger, Biometrika 73
        (1986) 13-22, with the factor G / (G - 1) (n - 1) / (n - 4) for G pairs). None for scores that are independent.

    Raises
    ------
    ValueError
        Where the curve cannot be fitted: fewer than five scores or step counts, fewer than two pairs, or no convergence.
    """
    import warnings

    import numpy as np
    from scipy.optimize import OptimizeWarning, curve_fit

    if len(np.unique(steps)) < 5:
        raise ValueError("fewer than five numbers of common steps")
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            found, covariance = curve_fit(hiqm, steps, scores, p0=_START, maxfev=20_000)
        except (RuntimeError, OptimizeWarning) as error:
            raise ValueError(f"no fit: {error}") from None
    residual = scores - hiqm(steps, *found)
    row: dict[str, Any] = {
        "coefficients": found.tolist(),
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "scores": len(scores),
    }
    if pairs is not None:
        labels, group = np.unique(pairs, return_inverse=True)
        row["pairs"] = len(labels)
        if len(labels) < 2:
            raise ValueError("fewer than two pairs of prompts")
        covariance = _clustered(_jacobian(steps, *found), residual, group)
    return row | {"standard_errors": np.sqrt(np.diag(covariance)).tolist()}


def _jacobian(steps: FloatArray, scale: float, slope: float, middle: float, _: float) -> FloatArray:
    """Derivatives of `hiqm` by L, K, B and G, shape (n, 4)."""
    import numpy as np

    share = hiqm(steps, 1.0, slope, middle, 0.0)
    falling = scale * share * (1 - share)
    return np.stack([share, -falling * (steps - middle), falling * slope, np.ones_like(steps)], axis=1)


def _clustered(jacobian: FloatArray, residual: FloatArray, group: IntArray) -> FloatArray:
    """Covariance of least squares where residuals of a group are correlated, those of different ones not."""
    import numpy as np

    count, (rows, columns) = int(group.max()) + 1, jacobian.shape
    scores = np.zeros((count, columns))
    np.add.at(scores, group, jacobian * residual[:, None])
    bread = np.linalg.inv(jacobian.T @ jacobian)
    factor = count / (count - 1) * (rows - 1) / (rows - columns)
    return np.asarray(factor * bread @ (scores.T @ scores) @ bread)


def fit(table: pd.DataFrame, bins: tuple[float, ...] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Fit every bin of a table with columns similarity, common_steps, clip_score and sim_npi (1 with modules).

    A score belongs to the nearest bin, if that is at most half a bin's width away. By default the bins are the published
    ones that hold scores. With columns public and personal, standard errors are clustered by their pairs.
    Returns rows by ``with_modules`` and ``without_modules``, each with its similarity; raises `InputError` for a bin that
    cannot be fitted, and where no score is in a bin.
    """
    from hisopt.errors import InputError

    grid = bins or BINS
    nearest = nearest_bin(table["similarity"].to_numpy(), grid)
    chosen = range(len(grid)) if bins else sorted(set(nearest.tolist()) - {-1})
    if not chosen:
        raise InputError(f"no similarity is near {', '.join(f'{centre:g}' for centre in grid)}: give other --bins")
    pairs = None
    if {"public", "personal"} <= set(table.columns):
        pairs = table.groupby(["public", "personal"]).ngroup().to_numpy()
    found: dict[str, list[dict[str, Any]]] = {}
    for flag, name in ((1, "with_modules"), (0, "without_modules")):
        flagged = (table["sim_npi"] == flag).to_numpy()
        if not flagged.any():
            continue
        found[name] = []
        for index in chosen:
            here = flagged & (nearest == index)
            part = table[here]
            try:
                row = fit_bin(
                    part["common_steps"].to_numpy(float), part["clip_score"].to_numpy(float),
                    None if pairs is None else pairs[here],
                )  # fmt: skip
            except ValueError as error:
                raise InputError(f"similarity {grid[index]:g}, {name.replace('_', ' ')}: {error}") from None
            found[name].append({"similarity": grid[index]} | row)
    return found


def read(scores: str, similarity: str | None, modules: bool | None = None) -> pd.DataFrame:
    """Read scores, and the similarity of each public and personal prompt where the scores do not hold it.

    ``modules`` says whether the SIM and NPI modules were on, where the scores have no column sim_npi.
    Raises `InputError` with file, column or line and reason.
    """
    import numpy as np
    import pandas as pd

    from hisopt.errors import InputError

    table = _csv(scores)
    pairs = {"public", "personal"} <= set(table.columns)
    needed = ["common_steps", "clip_score", *([] if pairs and similarity else ["similarity"])]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        hint = "; with columns public and personal, give --similarity" if pairs else ""
        raise InputError(f"{scores}: columns {', '.join(missing)}: missing{hint}")
    if "sim_npi" not in table.columns:
        if modules is None:
            raise InputError(f"{scores}: column sim_npi: missing; give --modules with or --modules without")
        table["sim_npi"] = int(modules)
    elif modules is not None:
        raise InputError(f"--modules: {scores} has a column sim_npi that says which scores are with modules")
    for name in [*needed, "sim_npi", *(["public", "personal"] if pairs else [])]:
        column = pd.to_numeric(table[name], errors="coerce")
        bad = ~np.isfinite(column.to_numpy(float))
        if bad.any():
            line = int(np.flatnonzero(bad)[0])
            raise InputError(f"{scores}: line {line + 2}: {name}: {table[name].iloc[line]!r} is not a finite number")
        table[name] = column
    strange = ~table["sim_npi"].isin([0, 1]).to_numpy()
    if strange.any():
        line = int(np.flatnonzero(strange)[0])
        raise InputError(f"{scores}: line {line + 2}: sim_npi: is {table['sim_npi'].iloc[line]:g}, must be 0 or 1")
    if not pairs or similarity is None:
        return table
    matrix = _csv(similarity, header=None).to_numpy()
    try:
        matrix = matrix.astype(float)
    except ValueError as error:
        raise InputError(f"{similarity}: not numbers: {error}") from None
    index = table[["public", "personal"]].to_numpy()
    outside = (index < 0) | (index >= np.array(matrix.shape)) | (index % 1 != 0)
    if outside.any():
        line = int(np.flatnonzero(outside.any(axis=1))[0])
        raise InputError(
            f"{scores}: line {line + 2}: prompt outside the {matrix.shape[0]} x {matrix.shape[1]} similarities"
        )
    table["similarity"] = matrix[tuple(index.astype(int).T)]
    return table


def _csv(path: str, **options: Any) -> pd.DataFrame:
    import pandas as pd

    from hisopt.errors import InputError

    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV: {' '.join(str(error).split())}") from None
    if table.empty:
        raise InputError(f"{path}: holds no rows")
    return table


def draw(
    table: pd.DataFrame, found: dict[str, list[dict[str, Any]]], path: Path, bins: tuple[float, ...] = BINS
) -> None:
    """Draw the residuals of every bin over the common steps, as SVG."""
    from matplotlib.figure import Figure

    from hisopt.files import save_svg

    figure = Figure(figsize=(5.5 * len(found), 4), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)
    for axis, (name, rows) in zip(axes[0], found.items(), strict=True):
        flagged = table[table["sim_npi"] == (1 if name == "with_modules" else 0)]
        nearest = nearest_bin(flagged["similarity"].to_numpy(), bins)
        for row in rows:
            means = flagged[nearest == bins.index(row["similarity"])].groupby("common_steps")["clip_score"].mean()
            axis.plot(means.index, means - hiqm(means.index.to_numpy(float), *row["coefficients"]),
                      marker=".", label=f"{row['similarity']:g}")  # fmt: skip
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set(title=name.replace("_", " "), xlabel="common steps", ylabel="mean score minus fit")
        axis.legend(title="similarity", fontsize="small")
    save_svg(figure, path)


@dataclass(frozen=True)
class FitOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    scores: str
    similarity: str | None = None
    modules: str | None = None
    centres: str | None = None
    output: str | None = None
    figure: str | None = None
    style: str = "table"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("scores", metavar="SCORES.csv")
@click.option(
    "--similarity", metavar="FILE", help="Matrix without header: similarity of public (row) and personal prompts."
)
@click.option(
    "--modules", type=click.Choice(["with", "without"]), help="SIM and NPI of scores that have no column sim_npi."
)
@click.option(
    "--bins",
    "centres",
    metavar="LIST",
    help=f"Similarities at the bins' centres. [default: those of {_GRID} that hold scores]",
)
@click.option("--output", metavar="FILE", help="Write the coefficients as JSON, for hisopt.solve --quality.")
@click.option("--figure", metavar="FILE.svg", help="Draw the residuals (needs the extra 'report').")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.version_option(__version__, prog_name="hisopt")
@taking(FitOptions)
def _command(options: FitOptions) -> None:
    """Fit Q(x) = L / (1 + exp(K (x - B))) + G in every similarity bin, with and without the modules.

    SCORES.csv has the columns common_steps and clip_score, and either similarity or public and personal (with
    --similarity); sim_npi says whether the SIM and NPI modules were on (1) or off (0). May be gzipped. With public and
    personal, standard errors are clustered by pairs of prompts.
    """
    from hisopt.errors import InputError
    from hisopt.files import deliver, require_writable

    for option, path in (("--output", options.output), ("--figure", options.figure)):
        if path:
            require_writable(option, path)
    bins = parse_bins(options.centres) if options.centres else None
    table = read(options.scores, options.similarity, None if options.modules is None else options.modules == "with")
    found = fit(table, bins)
    outside = int((nearest_bin(table["similarity"].to_numpy(), bins or BINS) < 0).sum())
    if outside:
        print(
            f"note: {outside} of {len(table)} scores are left out: their similarity is in no bin of "
            f"{', '.join(f'{centre:g}' for centre in bins or BINS)}",
            file=sys.stderr,
        )
    if options.output:
        rows = next(iter(found.values()))
        if len(rows) < 2:
            raise InputError("--output: a quality table has two bins or more, and the scores are all in one")
        document = {"source": f"least-squares fit of Q(x) = L / (1 + exp(K (x - B))) + G to {Path(options.scores).name}",
                    "similarity": [row["similarity"] for row in rows]}  # fmt: skip
        document |= {name: [row["coefficients"] for row in rows] for name, rows in found.items()}
        deliver(json.dumps(document, indent=1) + "\n", options.output, ".json")
    if options.figure:
        draw(table, found, Path(options.figure), bins or BINS)
    if options.style == "json":
        deliver(json.dumps(found) + "\n", None, ".json")
    else:
        deliver(_tables(found), None, ".txt")


def _tables(found: dict[str, list[dict[str, Any]]]) -> str:
    text = ""
    for name, rows in found.items():
        columns = ("similarity", *_NAMES, "rmse", "scores", *(("pairs",) if "pairs" in rows[0] else ()))
        text += f"{name.replace('_', ' ')}\n{grid(columns, [_cells(row) for row in rows], right=columns)}\n"
    if any("pairs" not in row for rows in found.values() for row in rows):
        text += "standard errors take scores as independent: no columns public and personal say which belong together\n"
    return text


def _cells(row: dict[str, Any]) -> list[str]:
    pairs = zip(row["coefficients"], row["standard_errors"], strict=True)
    fitted = [f"{value:.5f} ± {error:.5f}" for value, error in pairs]
    counted = [str(row["pairs"])] if "pairs" in row else []
    return [f"{row['similarity']:g}", *fitted, f"{row['rmse']:.5f}", str(row["scores"]), *counted]


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.fit", extra="report")
