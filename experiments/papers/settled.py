"""Items whose verdict needs no run: what would need weights or models that are not here, misprints, and things to have."""

from __future__ import annotations

from hisopt.experiments.papers.verdicts import Item, Verdict

_SD3 = (
    "needs the weights of Stable Diffusion 3 Medium (a licence, 20 GB) and a GPU of 24 GB; "
    "`python -m hisopt.experiments.campaigns.quality` is the program"
)
_LLM = "needs a language model of some billion parameters: `python -m hisopt.prompts --writer chat` asks any endpoint"
_J, _C, _M, _H, _A = "journal", "conference", "magazine", "code", "abstract"


def _all(verdict: Verdict, *rows: tuple[str, str, str, str]) -> tuple[Item, ...]:
    return tuple(Item(key, document, claim, verdict=verdict, reason=reason) for key, document, claim, reason in rows)


SETTLED: tuple[Item, ...] = (
    *_all(
        Verdict.NOT_RUN,
        ("journal-3", _J, "Fig. 3: CLIP and BRISQUE by guidance scale, 2.0 best of 1.0, 2.0 and 7.0 after sharing", _SD3),
        ("journal-table-1-clip", _J, "Table I: CLIP .287 with NPI, .284 without", _SD3),
        ("journal-table-1-brisque", _J, "Table I: BRISQUE 9.463 with NPI, 9.978 without",
         f"{_SD3}; BRISQUE also needs piq and its weights"),
        ("journal-8-generated", _J, "Fig. 8: linear, prompts written by a large language model", _LLM),
        ("journal-18-images", _J, "Fig. 18: the images of the case study", _SD3),
        ("conference-groups", _C, "groups by key subject, which a language model names",
         f"{_LLM}; main nouns by spaCy stand in (scheme `hid`)"),
        ("code-grid", _H, "images with and without SIM and NPI, each apart", f"{_SD3}; published scores have both"),
    ),
    *_all(
        Verdict.NOT_IDENTIFIABLE,
        ("journal-headline", _J, "gains of 26.8 to 94.3 % (abstract), of 36.8 to 94.3 % (text)",
         "the paper prints both as its smallest gain, so one is a slip; the text's numbers are the rows of Fig. 10"),
        ("journal-distance", _J, "users distributed uniformly within 50 to 300 m",
         "in radius or in area is not said; the presets draw the radius uniformly"),
    ),
    *_all(
        Verdict.REFUTED,
        ("journal-26", _J, "(26): the program to group similar users",
         "with non-negative similarities every pair put together adds, so one cluster of all users is optimal"),
    ),
    *_all(
        Verdict.MISPRINT,
        ("journal-28", _J, "(28): the server's SMs maximise the sum of A_m / v_m", "minimised here: it is a cost"),
        ("journal-33", _J, "(33): costs with plus signs and without weights", "set right, the rewards sum to the utility"),
        ("journal-34", _J, "(34), conference (21): the advantage inside the truncation and again outside",
         "read as in proximal policy optimisation: times the ratio, truncated or not"),
        ("journal-37", _J, "(37): brackets of the truncated value loss", "read as the larger of two squares"),
        ("journal-table-1-latency", _J, "Table I: steps a second under the heading of latency", "read as speed"),
        ("abstract-units", _A, "public code: joules added to hectojoules", "joules here; there transmission counts 100-fold"),
    ),
    *_all(
        Verdict.PROVIDED,
        ("journal-settings", _J, "Table II's learner: rewards normalised agent by agent, vanilla without truncation",
         "defaults of `python -m hisopt.train`, and its options"),
        ("conference-settings", _C, "HID: rate .0005, 128-128-128, rewards scaled by the deviation of the running return",
         "`python -m hisopt.train --algorithm hid`"),
        ("code-intermediate", _H, "images after intermediate steps (`get_intermediate_result`)",
         "`intermediate_steps` of `hisopt.diffusion.pipeline.HybridInference`"),
        ("code-scores", _H, "the quality curves fitted to the published scores", "`python -m hisopt.fit`"),
        ("abstract-learners", _A, "MEG-CVPO and PPO-Lagrangian",
         "trained and judged by the linear program in `python -m hisopt.experiments.campaigns.meg_policies`"),
    ),
)  # fmt: skip
