"""The latency-energy-quality front of MEG: the largest mean reward at every pair of limits, and which limit binds there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.instances import MegInstance
from hisopt.problems import Meg
from hisopt.solvers.meg import dual

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray

LATENCIES_S, ENERGIES_J = (1.5, 4.5), (1050.0, 2850.0)


def front(latencies: FloatArray, energies: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the best mean reward at each pair of limits, shape (L, E), and both multipliers, shape (2, L, E).

    A pair of limits that no policy meets has nan.
    """
    base = MegInstance()
    values = np.full((len(latencies), len(energies)), np.nan)
    prices = np.full((2, *values.shape), np.nan)
    for i, latency in enumerate(latencies):
        for j, energy in enumerate(energies):
            found = dual.solve(Meg(base.replace(latency_limit_s=latency, energy_limit_j=energy)).process)
            if found is not None and found.policy is not None:
                values[i, j], prices[:, i, j] = found.bound, found.multipliers
    return values, prices


def drawn(points: int) -> Figure:
    """Return the front as contours over so many limits a side; the published limits are marked."""
    from matplotlib.figure import Figure

    latencies, energies = np.linspace(*LATENCIES_S, points), np.linspace(*ENERGIES_J, points)
    values, prices = front(latencies, energies)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    shown = axes.contourf(energies, latencies, values, levels=16)
    figure.colorbar(shown, label=r"largest mean reward, $-\ln$ MSE")
    for price, style, name in ((prices[0], "--", "latency"), (prices[1], ":", "energy")):
        binds = np.where(np.isnan(price), np.nan, (price > 1e-9).astype(float))
        if np.nanmin(binds) < np.nanmax(binds):
            axes.contour(energies, latencies, binds, levels=[0.5], colors="white", linestyles=style)
            axes.plot([], [], color="grey", linestyle=style, label=f"the limit on {name} begins to bind")
    axes.plot(1800, 3, "wx", markeredgewidth=2, label="published limits")
    axes.legend(fontsize=7, facecolor="lightgrey", loc="lower right")
    axes.set(xlabel="limit on mean energy, J", ylabel="limit on mean latency, s")
    return figure


def report(points: int = 4) -> str:
    """Return the front at a few limits in Markdown, with what a second and a hundred joules would bring."""
    latencies, energies = np.linspace(2.0, 4.0, points), np.linspace(1400, 2200, points)
    values, prices = front(latencies, energies)
    lines = [
        "| mean latency at most, s | "
        + " | ".join(f"energy at most {e:,.0f} J: reward, gained a s, a 100 J" for e in energies)
        + " |"
    ]
    lines.append("|---" * (points + 1) + "|")
    for i, latency in enumerate(latencies):
        cells = [
            "no policy"
            if np.isnan(values[i, j])
            else f"{values[i, j]:.4f}, {prices[0, i, j]:.3f}, {100 * prices[1, i, j]:.3f}"
            for j in range(points)
        ]
        lines.append(f"| {latency:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
