"""What the papers describe and a reproduction must have: each is used once, so that it is there and does what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.diffusion.calibration import load_profile, shipped_profiles
from hisopt.experiments.papers.draws import journal, paper, proven_scheme
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, stated
from hisopt.instances import MegInstance
from hisopt.instances.provenance import PARAMETERS
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Full, Meg
from hisopt.result import Guarantee, Limits
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.meg.baselines import Fixed
from hisopt.solvers.meg.exact import OccupancyLp
from hisopt.solvers.registry import registered
from hisopt.solvers.schemes.schemes import SCHEMES
from hisopt.text.corpus import shipped
from hisopt.text.negative import negative_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

_CAT = "A fluffy white cat with blue eyes"
_PUBLISHED_NPI = "A sleek black cat with yellow eyes"


@dataclass(frozen=True)
class Provisions(Experiment):
    """``draws`` instances for what is measured of schemes and presets."""

    name: ClassVar[str] = "provisions"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2}

    draws: int = 10

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"part": name} for name in _PARTS]

    @override
    def settings(self) -> dict[str, Any]:
        return {"draws": self.draws}

    @override
    def measure(self, cell: Cell) -> Record:
        return {"found": _PARTS[cell["part"]](self.draws)}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        found = dict(zip(rows["part"], rows["found"], strict=True))
        npi = found["negative"]
        yield stated(
            item("journal-4-npi"),
            npi["said"],
            npi["said"] == _PUBLISHED_NPI,
            f"the paper's example; of {npi['prompts']} shipped prompts {npi['turned']} have such a negative prompt, by a list of "
            "antonyms of ours",
        )
        merges = found["merges"]
        yield stated(
            item("journal-algorithm-1"),
            f"M clusters in {merges['right']} of {merges['tried']} cases",
            merges["right"] == merges["tried"],
            "six orthogonal vectors and random ones with ties, every M: exactly N - M merges",
        )
        own, other = (interval(found["iis"][name]) for name in ("given", "alone"))
        yield stated(
            item("journal-iis-clusters"),
            f"utility {own[0]:.3f} ± {own[1]:.3f} with M given, {other[0]:.3f} ± {other[1]:.3f} with M = N",
            Verdict.NOT_IDENTIFIABLE,
            "the paper shares the server's SMs among clusters and gives IIS none; both are schemes here",
        )
        yield stated(
            item("journal-schemes"),
            ", ".join(found["schemes"]["names"]),
            Verdict.PROVIDED,
            f"prompts to steps and SMs, {found['schemes']['proven']} of {len(found['schemes']['names'])} proven optimal on one "
            "draw (`hisopt.solve --scheme all`); the learned policy by `--solver ippo`",
        )
        whose = found["provenance"]
        yield stated(
            item("provenance"),
            ", ".join(f"{count} {word}" for word, count in whose.items()),
            Verdict.PROVIDED,
            "every parameter with its source: `hisopt.solve --explain parameters`",
        )
        preset = found["conference"]
        yield stated(
            item("conference-preset"),
            f"no modules; {100 * preset['serving']:.0f} % of users have steps of their own on the server",
            Verdict.PROVIDED,
            f"weights unpublished, ours; with them utility is {preset['least']:.2f} at least",
        )
        yield stated(
            item("card-full-whole"),
            ", ".join(found["card"]["whole"]) or "none",
            Verdict.PROVIDED if found["card"]["whole"] else Verdict.OPEN,
            "exact solvers that serve the full problem with whole SMs",
        )
        filled = found["card"]["devices"]
        yield stated(
            item("card-devices"),
            "; ".join(f"{name}: {', '.join(fields) or 'none'}" for name, fields in filled.items()),
            Verdict.PROVIDED if any(filled.values()) else Verdict.OPEN,
            "the server's measured correction carried over; nothing of a device was measured",
        )
        meg = found["meg"]
        yield stated(
            item("abstract-problem"),
            f"optimal policy {meg['optimum']:.4f}, best fixed action {meg['fixed']:.4f}",
            Verdict.PROVIDED,
            "reward a slot (negative log MSE) under both limits, proven by a linear program; its constants are unpublished",
        )
        yield stated(
            item("abstract-centralised"),
            f"{meg['central_latency']:.2f} s a slot to send the image, {meg['latency']:.2f} s at the optimum",
            meg["central_latency"] > meg["latency"],
            "least mean latency of centralised generation against that of the optimal policy",
        )


def _negative(_: int) -> dict[str, Any]:
    prompts = shipped().prompts
    turned = sum(bool(found.text) for found in negative_prompts(prompts))
    return {"said": negative_prompts([_CAT])[0].text, "prompts": len(prompts), "turned": turned}


def _merges(draws: int) -> dict[str, Any]:
    cases = [np.eye(6)]
    for seed in range(draws):
        rows = np.random.default_rng(seed).normal(size=(4, 3)).repeat(2, axis=0)  # every vector twice
        cases.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    tried = [(vectors, m) for vectors in cases for m in range(1, len(vectors) + 1)]
    right = sum(len(np.unique(average_linkage(vectors, m))) == m for vectors, m in tried)
    return {"tried": len(tried), "right": right}


def _iis(draws: int) -> dict[str, Any]:
    return {
        name: [proven_scheme(paper(seed), scheme).utility for seed in range(draws)]
        for name, scheme in (("given", "iis"), ("alone", "iis-alone"))
    }


def _schemes(_: int) -> dict[str, Any]:
    instance = paper(0)
    return {"names": list(SCHEMES), "proven": sum(proven_scheme(instance, name).proven for name in SCHEMES)}


def _provenance(_: int) -> dict[str, Any]:
    return dict(Counter(row.whose for row in PARAMETERS))


def _conference(draws: int) -> dict[str, Any]:
    serving, utility = [], []
    for seed in range(draws):
        found = proven_scheme(PRESETS["icc"].sample(seed), SCHEMES["hid"].replace(groups="hac"))
        serving.append(float((found.decision.server_steps[1] > 0).mean()))
        utility.append(found.utility)
    return {"serving": float(np.mean(serving)), "utility": float(np.mean(utility)), "least": min(utility)}


def _card(_: int) -> dict[str, Any]:
    problem = Full(journal(PRESETS["small"].with_users(5).sample(0)), whole_sms=True)
    exact = [one.name for one in registered("full") if one.guarantee is Guarantee.EXACT and one.serves(problem)]
    return {"whole": exact, "devices": {name: sorted(load_profile(name)["devices"]) for name in shipped_profiles()}}


def _meg(_: int) -> dict[str, Any]:
    problem, central = Meg(MegInstance()), Meg(MegInstance().centralised())
    best = OccupancyLp().solve(problem, Limits(60.0))
    fixed = Fixed().solve(problem, Limits(60.0))
    if best.decision is None or fixed.decision is None:
        raise RuntimeError("mobile edge generation: no policy")
    parts = problem.evaluate(best.decision).parts
    latency = central.process.costs[central.limit_names.index("latency")]
    return {
        "optimum": parts["reward"], "fixed": problem.evaluate(fixed.decision).parts["reward"], "latency": parts["latency"],
        "central_latency": float((central.process.probability @ latency).min()),
    }  # fmt: skip


_PARTS = {
    "negative": _negative, "merges": _merges, "iis": _iis, "schemes": _schemes, "provenance": _provenance,
    "conference": _conference, "card": _card, "meg": _meg,
}  # fmt: skip
