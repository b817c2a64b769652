"""``python -m hisopt.fit``: quality coefficients (HIQM) from CLIP scores by least squares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt.command_line import run_command

if TYPE_CHECKING:
    import pandas as pd

    from hisopt.arrays import FloatArray

BINS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_START = (0.2, 0.3, 16.0, 0.1)  # L, K, B, G
_NAMES = ("L", "K", "B", "G")


def hiqm(steps: FloatArray, scale: float, slope: float, middle: float, floor: float) -> FloatArray:
    """Q(x) = L / (1 + exp(K (x - B))) + G, (7)."""
    import numpy as np

    return np.asarray(scale / (1 + np.exp(slope * (steps - middle))) + floor)


def fit_bin(steps: FloatArray, scores: FloatArray) -> dict[str, Any]:
    """Fit one similarity bin; coefficients, standard errors, rmse and the number of scores.

    Raises ValueError where the curve cannot be fitted (fewer than five scores or step counts, or no convergence).
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
    return {
        "coefficients": found.tolist(),
        "standard_errors": np.sqrt(np.diag(covariance)).tolist(),
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "scores": len(scores),
    }


def fit(table: pd.DataFrame, bins: tuple[float, ...] = BINS) -> dict[str, list[dict[str, Any]]]:
    """Fit every bin of a table with columns similarity, common_steps, clip_score and sim_npi (1 with modules).

    A score belongs to the nearest bin, if that is at most half a bin's width away. Returns rows by ``with_modules`` and
    ``without_modules``, each with its similarity; raises `InputError` for a bin that cannot be fitted.
    """
    import numpy as np

    from hisopt.errors import InputError

    centres = np.asarray(bins)
    half = float(np.diff(centres).min()) / 2 + 1e-9 if len(bins) > 1 else np.inf
    distance = np.abs(table["similarity"].to_numpy()[:, None] - centres)
    nearest = np.where(distance.min(axis=1) <= half, distance.argmin(axis=1), -1)
    found: dict[str, list[dict[str, Any]]] = {}
    for flag, name in ((1, "with_modules"), (0, "without_modules")):
        chosen = (table["sim_npi"] == flag).to_numpy()
        if not chosen.any():
            continue
        found[name] = []
        for index, centre in enumerate(bins):
            part = table[chosen & (nearest == index)]
            try:
                row = fit_bin(part["common_steps"].to_numpy(float), part["clip_score"].to_numpy(float))
            except ValueError as error:
                raise InputError(f"similarity {centre:g}, {name.replace('_', ' ')}: {error}") from None
            found[name].append({"similarity": centre} | row)
    return found


def read(scores: str, similarity: str | None) -> pd.DataFrame:
    """Read scores, and the similarity of each public and personal prompt where the scores do not hold it.

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
        table["sim_npi"] = 1
    for name in [*needed, "sim_npi", *(["public", "personal"] if pairs else [])]:
        column = pd.to_numeric(table[name], errors="coerce")
        bad = ~np.isfinite(column.to_numpy(float))
        if bad.any():
            line = int(np.flatnonzero(bad)[0])
            raise InputError(f"{scores}: line {line + 2}: {name}: {table[name].iloc[line]!r} is not a finite number")
        table[name] = column
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


def draw(table: pd.DataFrame, found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the residuals of every bin over the common steps, as SVG."""
    from matplotlib.figure import Figure

    from hisopt.files import save_svg

    figure = Figure(figsize=(5.5 * len(found), 4), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)
    for axis, (name, rows) in zip(axes[0], found.items(), strict=True):
        flagged = table[table["sim_npi"] == (1 if name == "with_modules" else 0)]
        for row in rows:
            near = (flagged["similarity"] - row["similarity"]).abs() <= 0.05 + 1e-9
            means = flagged[near].groupby("common_steps")["clip_score"].mean()
            axis.plot(means.index, means - hiqm(means.index.to_numpy(float), *row["coefficients"]),
                      marker=".", label=f"{row['similarity']:g}")  # fmt: skip
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set(title=name.replace("_", " "), xlabel="common steps", ylabel="mean score minus fit")
        axis.legend(title="similarity", fontsize="small")
    save_svg(figure, path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("scores", metavar="SCORES.csv")
@click.option(
    "--similarity", metavar="FILE", help="Matrix without header: similarity of public (row) and personal prompts."
)
@click.option(
    "--output", metavar="FILE", help="Write the coefficients as JSON, as an instance's quality table takes them."
)
@click.option("--figure", metavar="FILE.svg", help="Draw the residuals (needs the extra 'report').")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
def _command(scores: str, similarity: str | None, output: str | None, figure: str | None, style: str) -> None:
    """Fit Q(x) = L / (1 + exp(K (x - B))) + G in every similarity bin, with and without the modules.

    SCORES.csv has the columns common_steps and clip_score, and either similarity or public and personal (with
    --similarity); sim_npi says whether the SIM and NPI modules were on (1, the default) or off (0). May be gzipped.
    """
    from hisopt.files import require_writable, write_atomically

    for option, path in (("--output", output), ("--figure", figure)):
        if path:
            require_writable(option, path)
    table = read(scores, similarity)
    found = fit(table)
    if output:
        document = {"source": f"least-squares fit of Q(x) = L / (1 + exp(K (x - B))) + G to {Path(scores).name}",
                    "similarity": list(BINS)}  # fmt: skip
        document |= {name: [row["coefficients"] for row in rows] for name, rows in found.items()}
        write_atomically(Path(output), json.dumps(document, indent=1) + "\n")
    if figure:
        draw(table, found, Path(figure))
    if style == "json":
        print(json.dumps(found))
        return
    for name, rows in found.items():
        print(f"{name.replace('_', ' ')}\nsimilarity  " + "".join(f"{n:>22}" for n in _NAMES) + "      rmse  scores")
        for row in rows:
            cells = zip(row["coefficients"], row["standard_errors"], strict=True)
            text = "".join(f"{value:12.5f} ± {error:.5f}"[:22].rjust(22) for value, error in cells)
            print(f"{row['similarity']:<12g}{text}{row['rmse']:10.5f}{row['scores']:8d}")


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.fit", extra="report")


if __name__ == "__main__":
    main()
