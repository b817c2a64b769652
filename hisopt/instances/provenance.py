"""Whose number is it? Every parameter of an instance and of a scenario: published, derived from what is, or ours.

Values are not repeated here: they are read from the defaults and from the preset ``paper`` (``icc``, ``meg`` for theirs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Whose = Literal["published", "derived", "ours", "data"]

JOURNAL, ICC, MEG = "journal paper", "ICC paper", "MEG paper"


@dataclass(frozen=True)
class Row:
    """One parameter.

    Attributes
    ----------
    part
        The class that holds it, such as ``Gpu``; ``Gpu (server)`` and ``Gpu (device)`` where its two uses differ.
    name, symbol
        The field, and the papers' letter for it (empty where they have none).
    whose
        ``published`` (a paper prints the number), ``derived`` (follows from published numbers), ``ours`` (unpublished, our
        choice), ``data`` (the user's, or drawn; no default).
    source
        Where it is published, how it is derived, or why it is what it is.
    """

    part: str
    name: str
    symbol: str
    whose: Whose
    source: str


def _rows(part: str, *rows: tuple[str, str, Whose, str]) -> tuple[Row, ...]:
    return tuple(Row(part, *row) for row in rows)


_T2 = f"{JOURNAL}, Table II"
_T1 = f"{ICC}, Table I"
_DRAWN = "the user's, or drawn by the scenario"
_UNPUBLISHED = "unpublished"

PARAMETERS: tuple[Row, ...] = (
    *_rows(
        "Scenario",
        ("name", "", "ours", "names of presets are ours; 'paper' and 'icc' have the papers' settings"),
        ("users", "N", "published", f"{_T2}, and {_T1}"),
        ("max_clusters", "M", "published", f"{_T2}: 3; {_T1}: 2"),
        ("model", "", "ours", "which of the two papers' models"),
        ("subjects", "", "ours", "the papers' prompts are unpublished; four subjects of our corpus at a time"),
        ("edge_sms", "V", "published", f"{_T2}: 1,026 to 1,674; scaled with N in the presets small and large"),
        ("device_sms", "v_n", "published", f"{_T2}: 64 to 84"),
        ("distance_m", "", "published", f"{_T2}: 50 to 300 m; uniform in radius is ours, the text may mean area"),
        ("device_frequency_hz", "f_n^UE", "published", f"{_T1}: 1.4 to 1.6 GHz"),
        ("bandwidth_hz", "b_n", "ours", f"{_UNPUBLISHED}; 5 MHz makes transmission some tenths of a second"),
        ("power_w", "p_n", "ours", f"{_UNPUBLISHED}; 30 dBm, usual for a small cell"),
        ("edge_utilisation", "rho", "derived", "see Gpu (server); in the preset calibrated by the fit"),
        ("device_utilisation", "rho_UE", "ours", "see Gpu (device); in the preset calibrated by the fit"),
        ("steps", "", "published", "see StepLimits"),
        ("weights", "", "ours", "see Weights; those of the preset icc keep sharing worthwhile and utility positive"),
        ("modules", "iota", "published", f"{JOURNAL}: with SIM and NPI; {ICC}: none"),
    ),
    *_rows(
        "Instance",
        ("users", "N", "published", f"{_T2}"),
        ("max_clusters", "M", "published", f"{_T2}"),
        ("radio", "", "ours", "see Radio"),
        ("latent", "", "published", "see Latent"),
        ("steps", "", "published", "see StepLimits"),
        ("weights", "", "ours", "see Weights"),
        ("quality", "", "derived", "see QualityTable"),
        ("public_prompt", "", "ours", "see PublicPrompt"),
        ("cluster_size_min", "", "ours", "no paper limits sizes; 1 limits nothing"),
        ("cluster_size_max", "", "ours", "no paper limits sizes; none by default"),
        ("prompts", "", "data", "the papers' are unpublished; ours are shipped"),
        ("embeddings", "e_n", "data", "of all-MiniLM-L6-v2, as in the authors' repository"),
        ("similarity", "phi_n", "data", "follows from embeddings, clusters and the public prompt where not given"),
        ("clusters", "N_m", "data", "those of HAC where not given"),
        ("edge", "", "published", "see Gpu (server)"),
        ("devices", "", "published", "see Gpu (device)"),
        ("flop_edge", "xi", "published", f"{_T2}; matches the linear layers of two forward passes, 12.02; all are 17.81 TFLOP"),
        ("flop_device", "xi_UE", "published", f"{_T2}, the same"),
        ("given_common", "x_n", "data", "of the problem allocation; the middle of the bounds where not given"),
        ("given_edge", "y_n", "data", "of the problem allocation; the middle of the bounds where not given"),
    ),
    *_rows(
        "Gpu (server)",
        ("sms", "V", "published", f"{_T2}, a range"),
        ("frequency_hz", "F", "published", f"{_T2}: 1,410 MHz"),
        ("flop_per_cycle", "D", "published", f"{_T2}: 2,048"),
        ("utilisation", "rho", "derived", f"6.379 steps/s of one A100 ({JOURNAL}, Table I) times xi over 311.9 TFLOP/s; "
         "only xi / rho is identified"),
        ("energy_coefficient", "kappa", "published", f"{_T2}"),
        ("power_per_sm", "mu1", "published", f"{_T2}; gives an A100 1,589 W, 386 W are measured"),
        ("power_static", "mu2", "published", f"{_T2}; one full-GPU measurement cannot tell it from mu1"),
    ),
    *_rows(
        "Gpu (device)",
        ("sms", "v_n", "published", f"{_T2}, a range"),
        ("frequency_hz", "F_n", "published", f"{_T2}: 1,860 MHz"),
        ("flop_per_cycle", "D_n", "published", f"{_T2}: 1,024"),
        ("utilisation", "rho_UE", "ours", f"{_UNPUBLISHED}; the server's"),
        ("energy_coefficient", "kappa_UE", "published", f"{_T2}, the server's"),
        ("power_per_sm", "mu1", "published", f"{_T2}, the server's"),
        ("power_static", "mu2", "published", f"{_T2}, the server's"),
    ),
    *_rows(
        "Radio",
        ("bandwidth_hz", "b_n", "ours", "see Scenario"),
        ("power_w", "p_n", "ours", "see Scenario"),
        ("gain", "g_n", "ours", "path loss 128.1 + 37.6 log10(d / km) dB, 3GPP's urban macro cell; the papers name none"),
        ("noise_w_per_hz", "sigma0^2", "ours", f"{_UNPUBLISHED}; -174 dBm/Hz, thermal noise"),
    ),
    *_rows(
        "Latent",
        ("height", "n_h", "published", f"{_T2}"),
        ("width", "n_w", "published", f"{_T2}"),
        ("channels", "n_c", "published", f"{_T2}"),
        ("bits", "rho_bits", "published", f"{_T2}"),
        ("compression", "tau", "published", f"{_T2}: 2; the {ICC} leaves it open"),
    ),
    *_rows(
        "StepLimits",
        ("total", "T", "published", f"{_T2}; the preset icc takes the same"),
        ("common_max", "x_max", "published", f"{_T2}: 16; {_T1}: 13"),
        ("edge_min", "y_min", "published", f"{_T2}, and {_T1}"),
        ("edge_max", "y_max", "published", f"{_T2}: 11; {_T1}: 16"),
        ("device_min", "z_min", "derived", "T - x_max - y_max: 1 by Table II; 0 in the preset icc, whose x_max + y_max exceed T"),
        ("device_max", "z_max", "derived", "T: a device may run every step"),
    ),
    *_rows(
        "Weights",
        ("quality", "w1", "ours", f"{_UNPUBLISHED}; the unit of utility"),
        ("delay", "w2", "ours", f"{_UNPUBLISHED}; with 0.01 and w3 the optimum at phi = .65 runs about 830 of 1,400 "
         "steps, where the magazine's Table 1 has 816"),
        ("energy", "w3", "ours", f"{_UNPUBLISHED}; set together with w2, on the papers' energies"),
    ),
    *_rows(
        "QualityTable",
        ("similarity", "phi", "published", f"{JOURNAL}: bins 0.2 to 0.7"),
        ("coefficients", "L, K, B, G", "derived", "least squares on the CLIP scores in the authors' repository (hisopt.fit)"),
    ),
    *_rows(
        "PublicPrompt",
        ("rule", "", "ours", f"ideal: no text attains more; the {JOURNAL} lets a language model write one"),
        ("slope", "", "ours", f"the {JOURNAL}'s Fig. 8 says linear and prints no numbers; 1 changes nothing"),
        ("intercept", "", "ours", f"the {JOURNAL}'s Fig. 8 says linear and prints no numbers; 0 changes nothing"),
    ),
    *_rows(
        "IccInstance",
        ("group_frequency_hz", "f_m", "published", f"{_T1}: 2 GHz"),
        ("edge_frequency_hz", "f_n^ES", "published", f"{_T1}: 2 GHz"),
        ("device_frequency_hz", "f_n^UE", "published", f"{_T1}: 1.4 to 1.6 GHz"),
        ("cycles_edge", "xi", "published", f"{_T1}: 15 Mcycles"),
        ("cycles_device", "xi_UE", "published", f"{_T1}: 14 Mcycles"),
        ("energy_coefficient_edge", "kappa", "published", f"{_T1}"),
        ("energy_coefficient_device", "kappa_UE", "published", f"{_T1}"),
    ),
    *_rows(
        "MegInstance",
        ("channel", "h", "published", "see MegChannel"),
        ("steps", "n", "published", f"{MEG}: 4 to 12"),
        ("ratios", "beta", "published", f"{MEG}: [0, 0.75]; the grid is ours"),
        ("distortion", "MSE", "ours", f"{_UNPUBLISHED}; none stands for a law of ours, see its function"),
        ("bandwidth_hz", "B", "published", f"{MEG}: 1 MHz"),
        ("power_w", "P", "published", f"{MEG}: 30 dBm"),
        ("noise_w", "", "published", f"{MEG}: -94 dBm"),
        ("tokens", "N_t", "published", f"{MEG}: 4,096"),
        ("token_channels", "", "published", f"{MEG}: 16"),
        ("token_bits", "", "published", f"{MEG}: 16"),
        ("flop_step", "F_U", "ours", f"{_UNPUBLISHED}; SDXL with guidance as hisopt.profile counts it"),
        ("flop_text", "F_txt", "ours", f"{_UNPUBLISHED}; SDXL's text encoders as hisopt.profile counts them"),
        ("flop_decode", "F_vae", "ours", f"{_UNPUBLISHED}; SDXL's decoder as hisopt.profile counts it"),
        ("seconds_per_flop", "a", "derived", f"{_UNPUBLISHED}; one A100 by the {_T2}: 76.4 TFLOP/s"),
        ("joules_per_flop", "e", "ours", f"{_UNPUBLISHED}; so that both published limits bind"),
        ("device_slowdown", "", "published", f"{MEG}: 2"),
        ("device_energy_ratio", "", "published", f"{MEG}: 1.25"),
        ("seconds_base", "b", "ours", f"{_UNPUBLISHED}; 0"),
        ("latency_limit_s", "", "published", f"{MEG}: 3 s"),
        ("energy_limit_j", "", "published", f"{MEG}: 1.8 kJ"),
        ("horizon", "", "published", f"{MEG}: 64"),
        ("discount", "gamma", "ours", "none: averages in the long run"),
        ("latency_cap_s", "", "ours", "no paper caps a slot; none by default"),
        ("energy_cap_j", "", "ours", "no paper caps a slot; none by default"),
        ("latency_chance", "", "ours", "no paper bounds a chance; none by default"),
        ("energy_chance", "", "ours", "no paper bounds a chance; none by default"),
        ("payload", "Z", "derived", "none: from tokens, channels, bits and beta"),
    ),
    *_rows(
        "MegChannel",
        ("gain", "h", "published", f"{MEG}: path loss 35.3 + 37.6 log10(d / m) dB at 200 to 300 m; the bins are ours"),
        ("probability", "nu", "derived", "distance uniform over its range: bins of one width"),
        ("transition", "", "ours", "none: independent slots"),
        ("start", "", "ours", "none: the long run's distribution"),
    ),
)  # fmt: skip


def explained() -> str:
    """Return all rows with their values, as text: Scenario and Instance of the preset ``paper``, IccInstance of ``icc``."""
    parts = _parts()
    lines = []
    for part in dict.fromkeys(row.part for row in PARAMETERS):
        rows = [row for row in PARAMETERS if row.part == part]
        cells = [(row.name, row.symbol, _shown(getattr(parts[part], row.name)), row.whose, row.source) for row in rows]
        widths = [max(len(cell[k]) for cell in cells) for k in range(4)]
        lines.append(part)
        lines += [
            "  " + "  ".join([*(c.ljust(w) for c, w in zip(cell, widths, strict=False)), cell[4]]) for cell in cells
        ]
        lines.append("")
    counts = {
        whose: sum(row.whose == whose for row in PARAMETERS) for whose in ("published", "derived", "ours", "data")
    }
    return "\n".join([*lines, ", ".join(f"{count} {whose}" for whose, count in counts.items())]) + "\n"


def _parts() -> dict[str, object]:
    from hisopt.instances import Instance, MegInstance
    from hisopt.instances.scenario import PRESETS

    scenario, meg = PRESETS["paper"], MegInstance()
    journal, icc = scenario.sample(0), PRESETS["icc"].sample(0)
    assert isinstance(journal, Instance)
    return {
        "Scenario": scenario, "Instance": journal, "Gpu (server)": journal.edge, "Gpu (device)": journal.devices,
        "Radio": journal.radio, "Latent": journal.latent, "StepLimits": journal.steps, "Weights": journal.weights,
        "QualityTable": journal.quality, "PublicPrompt": journal.public_prompt, "IccInstance": icc,
        "MegInstance": meg, "MegChannel": meg.channel,
    }  # fmt: skip


def _shown(value: object) -> str:
    """A value in a few characters: numbers as they are, arrays by their range, parts by a dash."""
    import numpy as np

    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return f"{float(value):g}"
        return f"{value.min():.3g} .. {value.max():.3g}" if value.dtype.kind in "if" and value.ndim == 1 else "-"
    if isinstance(value, (bool, int, str, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple) and len(value) == 2:
        return " .. ".join(f"{number:g}" if isinstance(number, (int, float)) else str(number) for number in value)
    return "-"
