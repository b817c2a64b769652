"""``python -m hisopt.experiments.papers.energy_profiles DATA``: profiles of the server from measured energies of whole GPUs.

DATA has columns model, gpu, batch, steps, latency_s, energy_j_per_image, source: the figures that the ML.ENERGY project
published (repository ml-energy/leaderboard-v2, Apache-2.0; Chung et al., NeurIPS Datasets and Benchmarks 2025).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd

import hisopt
from hisopt.commands.common import run_command
from hisopt.diffusion.calibration import SAME_FLOP, SCHEMA_VERSION
from hisopt.errors import InputError
from hisopt.files import write_atomically

FOLDER = Path(hisopt.__file__).parent / "data" / "profiles"
MODEL = "stabilityai/stable-diffusion-3-medium-diffusers"
KAPPA = 1e-27
_REST_FLOP = 2 * (0.013 + 0.098 + 2.397) * 1e12 + 10.472e12
"""Text encoders for the prompt and the negative prompt, and the decoder, as `hisopt.profile` counts them."""


@dataclass(frozen=True)
class Card:
    """A GPU by its data sheet: SMs, clock in Hz at which the peak holds, dense FLOP a cycle of an SM in bfloat16."""

    name: str
    gpu: str
    sms: int
    frequency_hz: float
    flop_per_cycle: float


CARDS = (
    Card("a100-mlenergy", "NVIDIA A100-SXM4-40GB", 108, 1410e6, 2048),
    Card("h100-mlenergy", "NVIDIA H100 80GB HBM3", 132, 1830e6, 4096),
)


def read(path: Path) -> pd.DataFrame:
    """Read the measurements; raise `InputError` for a file without them."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    needed = {"model", "gpu", "batch", "steps", "latency_s", "energy_j_per_image", "source"}
    if missing := needed - set(table.columns):
        raise InputError(f"{path}: columns missing: {', '.join(sorted(missing))}")
    return table


def table_ii_watts(card: Card) -> float:
    """(10) with Table II's kappa, mu1 and mu2 for all SMs of a card."""
    return KAPPA * (4.0 * card.sms + 135.0) * card.frequency_hz**3


def profile(table: pd.DataFrame, card: Card) -> dict[str, Any]:
    """Return a card's profile from Stable Diffusion 3 Medium at batch 1, as `hisopt.profile` writes profiles.

    The measurement is of the whole pipeline and of all SMs: seconds t and joules E of an image of 25 steps. A step gets the
    share of both that its FLOP have of the pipeline's, so rho = xi / (step seconds v F D) is identified, and the watts
    P = E / t = kappa (mu1 v + mu2) F^3 at v = all SMs. One number of watts does not tell mu1 from mu2: all goes to mu1, as
    if a cluster's SMs were whole cards, each with its static part. `hisopt.experiments.papers.energy` varies that.
    """
    rows = table[(table.model == MODEL) & (table.gpu == card.gpu)].set_index("batch").sort_index()
    if 1 not in rows.index:
        raise InputError(f"{card.gpu}: no row of {MODEL} at batch 1")
    row = rows.loc[[1]].to_dict("records")[0]
    steps, latency, energy = int(row["steps"]), float(row["latency_s"]), float(row["energy_j_per_image"])
    share = steps * SAME_FLOP / (steps * SAME_FLOP + _REST_FLOP)
    seconds, joules = share * latency / steps, share * energy / steps
    watts = joules / seconds
    a100 = CARDS[0]
    own = table[(table.model == MODEL) & (table.gpu == a100.gpu) & (table.batch == 1)]
    correction = float((own.energy_j_per_image / own.latency_s).iloc[0]) / table_ii_watts(a100)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": "sd3-medium",
        "source": f"ML.ENERGY, {row['source']} (Apache-2.0; Chung et al., NeurIPS Datasets and Benchmarks 2025)",
        "gpu": card.gpu,
        "conditions": {"resolution": 1024, "guidance": True, "batch": 1, "steps": steps, "sms": card.sms},
        "pipeline": {"seconds": latency, "joules": energy,
                     "joules_largest_batch": float(rows.energy_j_per_image.iloc[-1])},
        "step": {"seconds": seconds, "joules": joules, "watts": watts, "share_of_pipeline": share},
        "identified": ["rho for all SMs", "watts for all SMs, mu1 v + mu2"],
        "not_identified": [
            "mu1 apart from mu2: one number of SMs was measured; all is given to mu1",
            "speed and watts below all SMs of a card",
            "what of an image belongs to text encoders and decoder: taken by their share of the FLOP",
            "anything of devices: kappa is Table II's, times measured over Table II's watts of one A100",
        ],
        "notes": [
            f"server by ML.ENERGY's measurement of a whole {card.gpu}: {seconds:.4f} s, {joules:.1f} J a step, {watts:.0f} W; "
            f"mu1 is not told from mu2; devices take {correction:.3f} times Table II's energy, ours"
        ],
        "parameters": {
            "flop_edge": SAME_FLOP, "flop_device": SAME_FLOP,
            "edge": {
                "frequency_hz": card.frequency_hz, "flop_per_cycle": card.flop_per_cycle,
                "utilisation": SAME_FLOP / seconds / (card.sms * card.frequency_hz * card.flop_per_cycle),
                "energy_coefficient": KAPPA, "power_per_sm": watts / (card.sms * KAPPA * card.frequency_hz**3),
                "power_static": 0.0,
            },
            "devices": {"energy_coefficient": KAPPA * correction},
        },
    }  # fmt: skip


def text(document: dict[str, Any]) -> str:
    """Return a profile as its file has it."""
    return json.dumps(document, indent=1) + "\n"


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Write the shipped profiles anew.")
def command(data: Path, write: bool) -> None:
    """Make the profiles a100-mlenergy and h100-mlenergy from measured latencies and energies."""
    table = read(data)
    for card in CARDS:
        document = profile(table, card)
        print(f"{card.name}: {document['notes'][0]}; Table II has {table_ii_watts(card):.0f} W")
        if write:
            FOLDER.mkdir(exist_ok=True)
            write_atomically(FOLDER / f"{card.name}.json", text(document))


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.energy_profiles")


if __name__ == "__main__":
    main()
