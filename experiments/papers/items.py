"""Every number and claim of the five documents that can be checked, in our own words.

Documents: ``journal`` (the hybrid inference scheme, HIS), ``conference`` (its earlier model, HID), ``magazine`` (SemCT),
``code`` (the authors' repository) and ``abstract`` (mobile edge generation, MEG); `models/README.md` cites them.
"""

from __future__ import annotations

from hisopt.experiments.papers.verdicts import Item, Verdict

_SD3 = (
    "needs the weights of Stable Diffusion 3 Medium (a licence, 20 GB) and a GPU of 24 GB; "
    "`python -m hisopt.experiments.campaigns.quality` is the program"
)
_J, _C, _M, _H, _A = "journal", "conference", "magazine", "code", "abstract"


def _family(
    key: str, document: str, claim: str, values: dict[str, float], by: str, unit: str = " %"
) -> tuple[Item, ...]:
    return tuple(
        Item(f"{key}-{name}", document, claim.format(name.upper()), value, unit, by) for name, value in values.items()
    )


_SCHEMES = (
    *_family("journal-10", _J, "Fig. 10: utility of HIS over {}", {"ppgfis": 36.8, "cfis": 51.0, "iis": 94.3}, "gains"),
    Item(
        "journal-headline", _J, "gains of 26.8 to 94.3 % (abstract), of 36.8 to 94.3 % (text)", verdict=Verdict.NOT_IDENTIFIABLE,
        reason="the paper prints both as its smallest gain, so one is a slip; the text's numbers are the rows of Fig. 10",
    ),
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
    Item("journal-3", _J, "Fig. 3: CLIP and BRISQUE by guidance scale, 2.0 best of 1.0, 2.0 and 7.0 after sharing",
         verdict=Verdict.NOT_RUN, reason=_SD3),
    Item("journal-table-1-clip", _J, "Table I: CLIP .287 with NPI, .284 without", verdict=Verdict.NOT_RUN, reason=_SD3),
    Item("journal-table-1-brisque", _J, "Table I: BRISQUE 9.463 with NPI, 9.978 without", verdict=Verdict.NOT_RUN,
         reason=f"{_SD3}; BRISQUE also needs piq and its weights"),
)  # fmt: skip

ITEMS: tuple[Item, ...] = (*_SCHEMES, *_QUALITY)


def item(key: str) -> Item:
    """Return the item of that key."""
    (found,) = [one for one in ITEMS if one.key == key]
    return found
