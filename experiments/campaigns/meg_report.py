"""The report on learned policies for MEG: tables in Markdown and the figure of violations over training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def _listed(values: pd.Series, scale: float = 100.0, digits: int = 3) -> str:
    return ", ".join(f"{scale * value:.{digits}f}" for value in values)


def text(rows: pd.DataFrame, fixed: dict[str, dict[str, float]], choice: pd.DataFrame | None) -> str:
    """Return the report."""
    options = "" if choice is None else " --choose"
    lines = [
        "# Learned policies for mobile edge generation",
        "",
        f"Made by `python -m hisopt.experiments.campaigns.meg_policies{options} --output FILE`. Trained on the preset `meg`; "
        "gaps to the proven optimum and violations of the limits are exact means on the binned channel, per cent, one a "
        "seed. A positive violation is of the limit that is broken most, a negative one is slack. *Repaired* is the gap "
        "of the policy moved towards the thriftiest actions as far as the limits need.",
        "",
        "| method | gap | violation | repaired | simulated latency, s | simulated energy, J | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, own in rows.groupby("method", sort=False):
        cells = [_listed(own[name]) for name in ("gap", "violation", "repaired")]
        for name, digits in (("latency", 3), ("energy", 0)):
            mean, half = own[f"simulated_{name}"].mean(), own[f"interval_{name}"].max()
            cells.append(f"{mean:,.{digits}f} ± {half:.{digits}f} at most")
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {own['cpu_seconds'].mean():.0f} |")
    for name, found in fixed.items():
        cells = [f"{100 * found[key]:.3f}" for key in ("gap", "violation", "repaired")]
        lines.append(f"| {name} | " + " | ".join(cells) + " | - | - | - |")
    lines += ["", "## Violation over training", "", *_curves(rows), "", "## On other channels", "", *_elsewhere(rows)]
    if choice is not None:
        lines += ["", "## Settings", "", *_choice(choice)]
    return "\n".join(lines) + "\n"


def _curves(rows: pd.DataFrame) -> list[str]:
    """Violations after shares of the training, the largest of all seeds, and how often limits were kept."""
    shares = (0.1, 0.25, 0.5, 0.75, 1.0)
    lines = [
        "Largest violation of all seeds, per cent, after a share of the training; the share of the told iterations, all seeds, "
        "in the second half of the training in which a limit is broken by more than 1 %; and the range of the gap in that half.",
        "",
        "| method | " + " | ".join(f"{share:.0%}" for share in shares) + " | broken by > 1 % | gap |",
        "|---" * (len(shares) + 3) + "|",
    ]
    for method, own in rows.groupby("method", sort=False):
        curves = [np.array(curve) for curve in own["curve"]]
        at = [max(c[min(int(s * len(c)), len(c) - 1), 2] for c in curves) for s in shares]
        late = np.concatenate([c[len(c) // 2 :] for c in curves])
        broken = f"{np.mean(late[:, 2] > 0.01):.0%}"
        gaps = f"{100 * late[:, 1].min():.2f} to {100 * late[:, 1].max():.2f}"
        lines.append(f"| {method} | " + " | ".join(f"{100 * v:.2f}" for v in at) + f" | {broken} | {gaps} |")
    return lines


def _elsewhere(rows: pd.DataFrame) -> list[str]:
    names = list(rows["elsewhere"].iloc[0])
    lines = [
        "What a policy trained on 200 to 300 m comes to on another channel, against that channel's own optimum: gap / "
        "violation / repaired, per cent, means over seeds. *Relative*: the network sees a gain as its deviation from the new "
        "channel's mean, in deviations; *absolute*: from those of the channel that it was trained on.",
        "",
        "| channel | " + " | ".join(str(method) for method in rows["method"].unique()) + " |",
        "|---" * (rows["method"].nunique() + 1) + "|",
    ]
    for name in names:
        cells = []
        for _, own in rows.groupby("method", sort=False):
            mean = np.mean([found[name] for found in own["elsewhere"]], axis=0)
            cells.append(" / ".join(f"{100 * value:.2f}" for value in mean))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _choice(choice: pd.DataFrame) -> list[str]:
    lines = [
        "Chosen on another instance (150 to 250 m, 2.1 s, 1,500 J) and another seed than those judged above; the first row of "
        "each method is what was taken.",
        "",
        "| settings | gap | violation | repaired |",
        "|---|---|---|---|",
    ]
    for _, row in choice.iterrows():
        cells = [f"{100 * row[key]:.3f}" for key in ("gap", "violation", "repaired")]
        lines.append(f"| {row['settings']} | " + " | ".join(cells) + " |")
    return lines


def drawn(rows: pd.DataFrame) -> Figure:
    """Return the violations over training: the mean of the seeds, and their range."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for method, own in rows.groupby("method", sort=False):
        curves = np.array([np.array(curve) for curve in own["curve"]])
        slots, values = curves[0, :, 0], 100 * curves[:, :, 2]
        axes.plot(slots, values.mean(axis=0), label=str(method))
        axes.fill_between(slots, values.min(axis=0), values.max(axis=0), alpha=0.2)
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set(xlabel="slots lived through", ylabel="largest violation of a limit, %")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.legend(fontsize=7)
    return figure
