"""Every number and claim of the five documents that can be checked, in our own words.

Documents: ``journal`` (the hybrid inference scheme, HIS), ``conference`` (its earlier model, HID), ``magazine`` (SemCT),
``code`` (the authors' repository) and ``abstract`` (mobile edge generation, MEG); `models/README.md` cites them. ``ours`` is
what no document says and its readers will ask.
"""

from __future__ import annotations

from hisopt.experiments.papers.settled import SETTLED
from hisopt.experiments.papers.verdicts import Item

_J, _C, _M, _A = "journal", "conference", "magazine", "abstract"
OURS = "ours"


def _family(
    key: str, document: str, claim: str, values: dict[str, float], by: str, unit: str = " %"
) -> tuple[Item, ...]:
    return tuple(
        Item(f"{key}-{name}", document, claim.format(name.upper()), value, unit, by) for name, value in values.items()
    )


_SCHEMES = (
    *_family("journal-10", _J, "Fig. 10: utility of HIS over {}", {"ppgfis": 36.8, "cfis": 51.0, "iis": 94.3}, "gains"),
    Item("journal-12", _J, "Fig. 12: utility gained by SIM and NPI", 19.1, " %", "gains"),
    *_family("magazine-5", _M, "Fig. 5: utility of SemCT over {}",
             {"sfif": 14.8, "cfif": 26.7, "clif": 63.1}, "gains"),
    *_family("magazine-table-1", _M, "Table 1: denoising steps executed by {}, of 1,400",
             {"semct": 816, "sfif": 943, "cfif": 1039, "clif": 1400}, "gains", ""),
    *_family("journal-11a", _J, "Fig. 11a: utility of {} lost from 1,674 server SMs to 1,026",
             {"his": 18.7, "ppgfis": 23.1, "cfis": 29.0, "iis": 74.1}, "sm-ranges"),
    *_family("journal-11b", _J, "Fig. 11b: utility of {} lost from 84 device SMs to 64",
             {"his": 9.0, "ppgfis": 11.6, "cfis": 15.3, "iis": 14.9}, "sm-ranges"),
    Item("journal-11-order", _J, "Fig. 11: HIS loses least of all schemes on both ranges", by="sm-ranges"),
)  # fmt: skip

_QUALITY = (
    Item("journal-5-shape", _J, "Fig. 5: quality falls with common steps, slowly, then fast, then slowly", by="quality-curves"),
    Item("journal-5-up", _J, "Fig. 5: the modules shift the entire curve up", by="quality-curves"),
    Item("journal-5-flat", _J, "Fig. 5: the modules make the curve flatter", by="quality-curves"),
    Item("conference-3-start", _C, "Fig. 3: without common steps quality is the same at every similarity", by="quality-curves"),
    Item("conference-3-floor", _C, "Fig. 3: the level that quality falls to rises with similarity", by="quality-curves"),
    Item("magazine-3", _M, "Fig. 3: quality falls with the shared proportion, less for similar prompts", by="quality-curves"),
)  # fmt: skip

_SHARING = (
    Item("journal-8-ideal", _J, "Fig. 8: public-personal similarity is linear in that inside clusters; ideal prompts",
         by="public-similarity"),
    Item("journal-8-medoid", _J, "Fig. 8: the same, the most central member's prompt", by="public-similarity"),
    Item("journal-8-extracted", _J, "Fig. 8: the same, prompts extracted from the members' words", by="public-similarity"),
    Item("journal-14-semantic", _J, "Fig. 14: mean public-personal similarity of semantic clusters", 0.65, "",
         "public-similarity"),
    Item("journal-14-order", _J, "Fig. 14: semantic clusters beat those of a knowledge graph, random ones and a single one",
         by="public-similarity"),
    Item("journal-13-interior", _J, "Fig. 13: the best number of clusters lies between one and one a user", by="cluster-counts"),
    Item("journal-13-best", _J, "Fig. 13: three clusters are best", by="cluster-counts"),
    Item("magazine-4", _M, "Fig. 4: the best number of clusters lies between one and one a user", by="cluster-counts"),
    Item("journal-16-paper", _J, "Fig. 16: optimal SMs beat those equal for users and equal for clusters", by="allocations"),
    Item("journal-16-imbalanced", _J, "Fig. 16: the same where cluster sizes differ widely", by="allocations"),
    Item("journal-16-utility", _J, "Fig. 16: utility 0.26 with optimal SMs", by="allocations"),
    Item("journal-footnote-6", _J, "Footnote 6: rounding SMs down loses little", by="allocations"),
    *(Item(f"{place}-{name}", document, f"{figure}: {word} rises with the weight of quality", by="weights")
      for place, document, figure in (("journal-17", _J, "Fig. 17"), ("conference-4a", _C, "Fig. 4a"))
      for name, word in (("quality", "quality"), ("delay_s", "delay"), ("energy_j", "energy"))),
    *_family("conference-5", _C, "Fig. 5: utility of HID over {}", {"ppgfis": 12.6, "gfis": 24.1, "iis": 102.2}, "conference"),
    Item("journal-table-1-speed", _J, "Table I: steps a second on one A100", 6.379, "", "hardware"),
    Item("journal-table-1-npi", _J, "Table I: NPI costs no speed (6.377 steps/s with, 6.379 without)", by="hardware"),
    Item("journal-table-2-xi", _J, "Table II: TFLOP of one denoising step", 12.0, "", "hardware"),
    Item("journal-table-2-power", _J, "(10) with Table II: power of a GPU", by="hardware"),
    Item("journal-18-third", _J, "Fig. 18: share of the steps saved, 'one third'", 100 / 3, " %", "hardware"),
    Item("journal-18-mismatch", _J, "Fig. 18: another subject from common step 8 (PPGFIS), 6 (CFIS)", by="hardware"),
)  # fmt: skip

_BEYOND = (
    Item("magazine-uniform", _M, "taxonomy: uniform sharing, a fixed split for all", by="dominance"),
    Item("magazine-cached", _M, "taxonomy: cached prefixes, common steps kept from before", by="dominance"),
    Item("dominance-clusters", OURS, "HIS is at least any scheme with its clusters and similarities", by="dominance"),
    Item("dominance-similarities", OURS, "HIS is at least any scheme with its similarities", by="dominance"),
    Item("dominance-optimum", OURS, "HIS with optimal clusters is at least any scheme under its equations", by="dominance"),
    Item("magazine-energy", _M, "1.38e-3 kWh, 4,968 J, for an image of Stable Diffusion 1.5", by="energy"),
    Item("energy-order", OURS, "HIS stays ahead of PPGFIS, CFIS and IIS under measured energies", by="energy"),
    Item("trees-exact", OURS, "flat clusters against sharing in trees, few users", by="trees"),
    Item("trees-large", OURS, "flat clusters against sharing in trees, 50 users", by="trees"),
    Item("calibration-all", _J, "all numbers of Fig. 10 to 12, 14 and the magazine's Table 1 hold together", by="calibration"),
    Item("calibration-rest", _J, "the same but for the pair of IIS in Fig. 11", by="calibration"),
    Item("calibration-gains", _J, "Fig. 10 and 12 hold together", by="calibration"),
    Item("calibration-ranges", _J, "the eight losses of Fig. 11 hold together", by="calibration"),
    Item("calibration-iis-pair", _J, "Fig. 11: IIS loses 74.1 % on the server's SMs, 14.9 % on devices'", by="calibration"),
    Item("calibration-iis-gain", _J, "the same, and 94.3 % of HIS over IIS", by="calibration"),
    *_family("calibrated-10", OURS, "Fig. 10 once more, at the calibrated preset: utility of HIS over {}",
             {"ppgfis": 36.8, "cfis": 51.0, "iis": 94.3}, "calibration"),
    Item("calibration-parameters", _J, "weights, radio, rho and similarities follow from what is published", by="calibration"),
)  # fmt: skip

_LEARNING = (
    Item("journal-15", _J, "Fig. 15: IPPO with both normalisations ends best, vanilla worst", by="learning"),
    Item("conference-4b", _C, "Fig. 4b: HID with its code-level optimisations ends best, vanilla worst", by="learning"),
)  # fmt: skip

_PROVISIONS = (
    Item("journal-4-npi", _J, "(4), Fig. 4: negative prompts keep the subject, with antonyms of its adjectives", by="provisions"),
    Item("journal-algorithm-1", _J, "Algorithm 1: exactly N - M merges", by="provisions"),
    Item("journal-iis-clusters", _J, "IIS: who shares the server's SMs", by="provisions"),
    Item("journal-schemes", _J, "HIS, HID, PPGFIS, CFIS, IIS, uniform and cached sharing, end to end", by="provisions"),
    Item("provenance", OURS, "whose number each parameter is", by="provisions"),
    Item("conference-preset", _C, "its setting: 50 users, 2 groups, no SIM and NPI", by="provisions"),
    Item("card-full-whole", OURS, "an exact solver of the full problem with whole SMs", by="provisions"),
    Item("card-devices", OURS, "devices' parameters from a measured profile", by="provisions"),
    Item("abstract-problem", _A, "quality maximised under average limits on latency and energy", by="provisions"),
    Item("abstract-centralised", _A, "generation at the edge is faster than sending the image", by="provisions"),
)  # fmt: skip

_EDGE = (
    Item("abstract-saving", _A, "over 40 % less latency than centralised generation at 1024 x 1024", by="edge"),
    Item("abstract-cvpo", _A, "MEG-CVPO as published learns the best policy within both limits", by="edge"),
    Item("abstract-cvpo-corrected", OURS, "MEG-CVPO with its constraint corrected does", by="edge"),
)

ITEMS: tuple[Item, ...] = (*_SCHEMES, *_SHARING, *_QUALITY, *_BEYOND, *_LEARNING, *_EDGE, *_PROVISIONS, *SETTLED)


def item(key: str) -> Item:
    """Return the item of that key."""
    (found,) = [one for one in ITEMS if one.key == key]
    return found
