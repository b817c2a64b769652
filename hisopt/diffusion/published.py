"""A measured profile against figures that others published for the same model on a card of the same class."""

from __future__ import annotations

from typing import Any

# model, a word of the card's name, batch: seconds of a batch and J of an image, whole pipeline, 25 steps, 1024 x 1024 with
# guidance, one card. ML.ENERGY (repository ml-energy/leaderboard-v2, Apache-2.0; Chung et al., NeurIPS Datasets and
# Benchmarks 2025). The H200 has the SMs, clocks and power limit of the H100.
_STEPS = 25
_FIGURES = {
    ("sd3-medium", "H100", 1): (1.903, 1256.96),
    ("sd3-medium", "H100", 2): (3.544, 1187.25),
    ("sd3-medium", "H100", 4): (6.7501, 1141.11),
    ("sd3-medium", "H100", 8): (13.2553, 1124.41),
    ("sd3-medium", "A100", 1): (3.7812, 1457.98),
    ("sd3-medium", "A100", 2): (7.2962, 1417.03),
    ("sd3-medium", "A100", 4): (14.1805, 1376.63),
    ("sd3-medium", "A100", 8): (28.0394, 1353.82),
}
_CLASSES = {"H100": "H100", "H200": "H100", "A100": "A100"}
LOW, HIGH = 0.6, 1.1
"""A step of the denoiser alone over a step of the whole pipeline, text encoders and decoder spread over its steps: what is
left out should cost little, and faster software or a compiled model more than that; outside, something is wrong."""


def compared(profile: dict[str, Any]) -> tuple[list[str], bool]:
    """Return lines that compare a profile with published figures, and whether all measurements lie in the expected range.

    Nothing to compare with, or nothing measured, is not a failure of the profile but no confirmation either: False.
    """
    measured, conditions = profile.get("measured"), profile["conditions"]
    if not measured or not measured["runs"]:
        return ["nothing is measured in this profile"], False
    name = measured["device"]["name"]
    card = next((of for word, of in _CLASSES.items() if word in name), None)
    figures = _FIGURES.get((profile["model"], card or "", conditions["batch"]))
    if figures is None or conditions["resolution"] != 1024 or not conditions["guidance"]:
        return [f"no figures are published for {profile['model']} on {name} at these conditions"], False
    seconds, joules = figures[0] / _STEPS, figures[1] * conditions["batch"] / _STEPS
    lines = [
        f"Against ML.ENERGY on {card}, whole pipeline, {_STEPS} steps: {1e3 * seconds:.1f} ms and {joules:.1f} J a step of "
        f"the batch; expected here {LOW:g} to {HIGH:g} of it.", "",
        f"{'':20}{'ms':>8}{'ratio':>8}{'J':>8}{'ratio':>8}  verdict",
    ]  # fmt: skip
    good, complete = True, True
    for run in measured["runs"]:
        ratios = [run["median_s"] / seconds, None if run["joules"] is None else run["joules"] / joules]
        known = [ratio for ratio in ratios if ratio is not None]
        inside = all(LOW <= ratio <= HIGH for ratio in known)
        good, complete = good and inside, complete and len(known) == 2
        energy = "       -       -" if ratios[1] is None else f"{run['joules']:8.1f}{ratios[1]:8.2f}"
        verdict = "outside" if not inside else "as expected" if len(known) == 2 else "no energy measured"
        lines.append(
            f"{run['dtype'] + ', ' + run['mode']:20}{1e3 * run['median_s']:8.1f}{ratios[0]:8.2f}{energy}  {verdict}"
        )
    return lines, good and complete
