"""``python -m hisopt.experiments.papers.calibration_search``: the global search that the calibration rests on, minutes of CPU.

Writes ``calibration_points.json``: what was found, as points in the parameters. `hisopt.experiments.papers.calibration` computes
the numbers at these points anew, so no number of its table rests on this file, only how good the points are.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.errors import InputError
from hisopt.experiments.papers.calibration_model import BOUNDS, NAMES, PUBLISHED, Model
from hisopt.files import write_atomically

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

POINTS = Path(__file__).with_name("calibration_points.json")
IIS_PAIR = ("11a IIS", "11b IIS")
TARGETS: dict[str, tuple[str, ...]] = {
    "all": tuple(PUBLISHED),
    "all but the IIS pair": tuple(name for name in PUBLISHED if name not in IIS_PAIR),
    "the IIS pair": IIS_PAIR,
    "the IIS pair and its gain": (*IIS_PAIR, "10 IIS"),
    "gains": ("10 PPGFIS", "10 CFIS", "10 IIS", "12"),
    "ranges": tuple(name for name in PUBLISHED if name.startswith("11")),
}
WITHIN = 18.3  # by how much a loss near the best exceeds it: the 95 % region of ten parameters, were the tolerance a deviation
_SPREAD_OF = "all but the IIS pair"  # the target whose surroundings are looked at
_SCALED = ("delay weight", "energy weight", "bandwidth, Hz", "server utilisation", "device utilisation")
_KEPT = 300  # points near the best
_POPULATION = 6  # times the number of parameters


def search(target: str, seed: int, evaluations: int, start: list[float] | None = None) -> dict[str, Any]:
    """Return the best point that differential evolution, polished by Nelder and Mead's method, finds.

    ``start`` is a point to take into the first population.
    """
    from scipy.optimize import Bounds, differential_evolution, minimize

    began, model = time.process_time(), Model()

    def loss(point: FloatArray) -> float:
        return model.loss(point, TARGETS[target])

    bounds = Bounds([low for low, _ in BOUNDS], [high for _, high in BOUNDS])
    members = _POPULATION * len(BOUNDS)
    rounds = max(round(0.8 * evaluations / members) - 1, 1)
    found = differential_evolution(
        loss, bounds, maxiter=rounds, popsize=_POPULATION, rng=seed, polish=False, tol=0.0, init="latinhypercube", x0=start
    )  # fmt: skip
    left = max(evaluations - int(found.nfev), 1)
    polished = minimize(loss, found.x, method="Nelder-Mead", bounds=bounds, options={"maxfev": left, "adaptive": True})
    best = min((polished, found), key=lambda one: float(one.fun))
    return {
        "target": target, "seed": seed, "evaluations": evaluations, "cpu_s": time.process_time() - began,
        "loss": float(best.fun), "point": [float(value) for value in best.x], "near": [],
    }  # fmt: skip


def spread(target: str, best: list[float], evaluations: int, walkers: int = 24, seed: int = 0) -> list[list[float]]:
    """Return points about the best one, as a Markov chain of the likelihood exp(-loss / 2) visits them.

    The chain is affine-invariant (Goodman and Weare 2010, by emcee), so it follows parameters that trade for one another,
    and stays within `BOUNDS`. Its first third is left out. One trade needs no chain: weights, utilisations and bandwidth
    scaled by one factor change nothing (but for the logarithm in the rate), so every point comes once more so scaled, by a
    factor at random.
    """
    import emcee

    model, rng = Model(), np.random.default_rng(seed)
    low, high = np.array(BOUNDS).T

    def likelihood(point: FloatArray) -> float:
        if (point < low).any() or (point > high).any():
            return -np.inf
        return -model.loss(point, TARGETS[target]) / 2

    start = np.clip(best + 0.02 * (high - low) * rng.standard_normal((walkers, len(low))), low, high)
    chain = emcee.EnsembleSampler(walkers, len(low), likelihood)
    chain.random_state = np.random.RandomState(seed).get_state()
    steps = max(evaluations // walkers, 3)
    chain.run_mcmc(start, steps)
    return with_scaled(chain.get_chain(discard=steps // 3, flat=True).tolist(), rng)


def with_scaled(points: list[list[float]], rng: np.random.Generator) -> list[list[float]]:
    """Return points and, one behind each, the point with weights, utilisations and bandwidth scaled as far as bounds allow."""
    low, high = np.array(BOUNDS).T
    scaled = np.array([name in _SCALED for name in NAMES])
    found = []
    for point in np.array(points):
        up, down = float((high - point)[scaled].min()), float((point - low)[scaled].min())
        moved = point + scaled * rng.uniform(-down, up)
        found += [point.tolist(), np.clip(moved, low, high).tolist()]
    return found


def read(path: Path = POINTS) -> list[dict[str, Any]]:
    """Return what searches found; raise `InputError` for a file that is none of theirs."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for one in found:
            points = np.array([one["point"], *one["near"]], dtype=np.float64)
            if one["target"] not in TARGETS or points.shape[1:] != (len(BOUNDS),) or not np.isfinite(points).all():
                raise ValueError(f"target {one['target']!r}: not points of the calibration")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: {error}") from None
    return list(found)


@click.command()
@click.option("--target", "targets", multiple=True, type=click.Choice(list(TARGETS)), help="[default: all of them]")
@click.option("--seeds", default=2, show_default=True, help="Searches of each target.")
@click.option("--evaluations", default=5000, show_default=True, help="Of each search.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=POINTS, show_default=False, help="[default: the file shipped]"
)
@click.option("--anew", is_flag=True, help="Start from nothing, not from the best points of the file.")
@click.option(
    "--spread", "about", default=3000, show_default=True, help="Evaluations of the chain about the best point; 0: none."
)
def command(
    targets: tuple[str, ...], seeds: int, evaluations: int, jobs: int, output: Path, anew: bool, about: int
) -> None:
    """Search for parameters that meet the published numbers; what a target had in the file is kept where it was better."""
    if min(evaluations, jobs) < 1 or seeds < 0 or about < 0:
        raise InputError("--evaluations and --jobs: must be >= 1, --seeds and --spread >= 0")
    known = read(output) if output.exists() else []
    best = {} if anew else {one["target"]: one["point"] for one in reversed(known)}
    tasks = [(target, seed) for seed in range(seeds) for target in targets or TARGETS]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(search, target, seed, evaluations, best.get(target)) for target, seed in tasks]
        for future in as_completed(futures):
            one = future.result()
            print(
                f"{one['target']}, seed {one['seed']}: loss {one['loss']:.4g}, {one['cpu_s']:.0f} s",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            known = [one, *(k for k in known if (k["target"], k["seed"]) != (one["target"], one["seed"]))]
            write(output, known)
    own = [one for one in known if one["target"] == _SPREAD_OF]
    if about and own:
        top = min(own, key=lambda one: float(one["loss"]))
        began = time.process_time()
        top["near"] = spread(_SPREAD_OF, top["point"], about)
        top["spread"] = {"evaluations": about, "cpu_s": round(time.process_time() - began, 1)}
        write(output, known)


def write(path: Path, found: list[dict[str, Any]]) -> None:
    """Write what searches found, a target after the other, the best search of each first; points near are thinned out."""
    lines = []
    for target in TARGETS:
        for one in sorted((k for k in found if k["target"] == target), key=lambda one: float(one["loss"])):
            every = max(len(one["near"]) // _KEPT, 1) | 1  # odd, so that both kinds of points stay
            near = one["near"][::every]
            kept = one | {"point": _short(one["point"]), "near": [_short(point) for point in near]}
            lines.append(json.dumps(kept | {"cpu_s": round(one["cpu_s"], 1)}))
    write_atomically(path, "[\n" + ",\n".join(lines) + "\n]\n")


def _short(point: list[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in point]


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.calibration_search")


if __name__ == "__main__":
    main()
