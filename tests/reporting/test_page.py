"""The page as text: structure, names for everything, nothing from outside, and numbers that are known."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from made_records import made

from hisopt.errors import InputError
from hisopt.reporting.page import Extra, page
from hisopt.reporting.records import prepared

VOID = {"meta", "input", "br", "hr", "img", "link"}
SELF_CLOSED = {"path", "line", "circle", "rect"}
VERDICTS = "# Verdicts\n\nA *word* on `it`.\n\n| item | ours |\n|---|---|\n| Fig. 1 | 2 % |\n| Fig. 2 <b> | 3 % |\n"


class Tree(HTMLParser):
    """Elements with attributes and ancestors; raises where an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}, tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED
        self.elements.append((tag, {name: value or "" for name, value in attrs}, tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def shown(records: list[dict[str, Any]], **extra: Any) -> tuple[str, Tree, dict[str, Any]]:
    text = page(prepared(records, "here"), Extra(**extra))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    return text, Tree(text), json.loads(data)


@pytest.fixture(scope="module")
def whole() -> tuple[str, Tree, dict[str, Any]]:
    records = made() + made(problem="clustering, mean", seeds=2, users=(10,))
    for record in records[-8:]:
        record["solver"] = record["solver"].replace("greedy", "hac")
    return shown(records, verdicts=VERDICTS)


def test_the_structure_is_sound(whole: tuple[str, Tree, dict[str, Any]]) -> None:
    text, tree, _ = whole
    assert text.startswith("<!DOCTYPE html>")
    ids = [a["id"] for _, a, _ in tree.elements if "id" in a]
    assert len(ids) == len(set(ids))
    named = [a[name] for _, a, _ in tree.elements for name in ("aria-labelledby", "for") if name in a]
    named += [a["href"][1:] for _, a, _ in tree.elements if a.get("href", "").startswith("#")]
    assert named and {word for names in named for word in names.split()} <= set(ids)
    levels = [int(tag[1]) for tag, _, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_nothing_comes_from_outside(whole: tuple[str, Tree, dict[str, Any]]) -> None:
    text, tree, _ = whole
    for tag, attributes, _ in tree.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "xlink:href", "action", "style", "onclick"} & set(attributes), attributes
        assert attributes.get("href", "#").startswith(("#", "data:text/csv;base64,"))
    assert "default-src 'none'" in text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)


def test_every_figure_is_named_described_explained_and_has_its_numbers(whole: tuple[str, Tree, dict[str, Any]]) -> None:
    text, tree, _ = whole
    figures = [a["id"] for tag, a, _ in tree.elements if tag == "figure"]
    assert {
        "p0-profile",
        "p0-data",
        "p0-quality",
        "p0-time",
        "p0-seeds",
        "p0-way",
        "p0-integrals",
        "p0-policies",
    } <= set(figures)
    for key in figures:
        assert re.search(f'<title id="{key}-t">[^<]+</title><desc id="{key}-d">[^<]+</desc>', text), key
        body = text[text.index(f'<figure id="{key}"') :].partition("</figure>")[0]
        caption = re.sub(r"<[^>]+>", "", body.partition("<figcaption>")[2].partition('<span class="made">')[0])
        assert caption.strip().endswith("."), key
        assert f'download="{key}.csv"' in body
    assert "proven optimum" in text


def test_known_numbers_are_on_the_page(whole: tuple[str, Tree, dict[str, Any]]) -> None:
    text, _, data = whole
    columns = {column["name"]: column for column in data["columns"]}
    assert len(columns["objective"]["values"]) == 40
    solver = columns["solver"]
    gaps = [g for g, s in zip(columns["gap_to_best_known"]["values"], solver["index"], strict=True)
            if solver["words"][s] == "greedy"]  # fmt: skip
    assert gaps == pytest.approx([0.02] * 8)
    costs = data["profiles"]["p0-profile"]
    assert costs["solvers"] == ["exact", "milp", "greedy", "ippo"]
    assert [sum(c is None for c in column) for column in costs["costs"]] == [0, 4, 8, 8]
    row = re.sub(r"<[^>]+>", " ", text[text.index(">milp</th>") + 1 :].partition("</tr>")[0]).split()
    assert row[:8] == ["milp", "exact", "8", "4", "4", "4", "0", "0"]
    assert "HAC against the optimum" in text and "2.000 %" in text
    assert "A word on it." in text and "Fig. 2 &lt;b&gt;" in text


def test_contradictions_come_first_and_timings_are_told() -> None:
    records = made()
    records[3]["objective"] = 1.2  # beyond what exact and milp prove
    text, _, _ = shown(records)
    assert text.index("2 claims refuted") < text.index('id="compared"')
    assert "its bound 1 is passed by the objective 1.2" in text
    assert "None: no feasible objective" in shown(made())[0]
    quiet, shared = made(), made(seeds=2, shared=True)
    assert "had it alone" not in shown(quiet)[0]
    for record in shared:
        record["key"] += "-again"
    mixed = shown(quiet + shared)[0]
    assert mixed.count("16 of 48 solves shared their machine with others, 32 had it alone.") >= 5
    assert "Timed while other solves ran on the machine." in shown(shared)[0]


def test_hostile_words_stay_words() -> None:
    _text, tree, data = shown(
        made(solver="</script><script>alert(1)</script>", message="<img src=x onerror=y>", source="\u2028'\"&")
    )
    assert sum(tag == "script" for tag, _, _ in tree.elements) == 2
    assert not any(tag == "img" for tag, _, _ in tree.elements)
    assert "</script><script>alert(1)</script>" in data["columns"][1]["words"]


def test_the_same_records_give_the_same_page_whatever_fields_are_absent() -> None:
    records = made()
    assert shown(records)[0] == shown(records)[0]
    needed = (
        "key",
        "problem",
        "maximise",
        "instance",
        "solver",
        "seed",
        "feasible",
        "termination",
        "objective",
        "seconds",
    )
    bare = shown([{name: record[name] for name in needed} for record in records])[0]
    assert "Performance profile" in bare
    assert "engine dask" in shown([record | {"engine": "dask", "jobs": 2, "later": [1]} for record in records])[0]


def test_records_of_failures_alone_make_a_page() -> None:
    failed = made(feasible=False, objective=None, bound=None, seconds=None, trajectory=[], termination="crashed")
    text, tree, _ = shown(failed)
    assert "32 without a feasible solution" in text
    assert not any(tag == "figure" for tag, _, _ in tree.elements)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": "1"}, "record 1: objective: is '1', of the wrong type"),
        ({"feasible": 1}, "feasible: is 1, of the wrong type"),
        ({"trajectory": [[0, "x", None]]}, "trajectory: must be a list of"),
        ({"time_limit": 0.0}, "time_limit: is 0.0, must be a positive number"),
        ({"time_limit": -1.0}, "time_limit: is -1.0, must be a positive number"),
    ],
)
def test_a_wrong_record_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        prepared(made(**change), "here")
    with pytest.raises(InputError, match="here: no records"):
        prepared([], "here")
