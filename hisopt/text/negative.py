"""Negative prompts as published (NPI): the user's prompt with its adjectives turned into their antonyms, its subject kept."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.text.tagging import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spacy.tokens import Doc, Token

_DATA = Path(__file__).parents[1] / "data" / "antonyms.csv"
_VOWELS = "aeiou"


@dataclass(frozen=True)
class NegativePrompt:
    """A negative prompt (empty where no adjective has a known antonym), how many adjectives there were and were turned."""

    text: str
    adjectives: int
    turned: int


def negative_prompts(prompts: Sequence[str]) -> list[NegativePrompt]:
    """Return the negative prompt of each prompt.

    The journal paper's NPI: "A fluffy white cat with blue eyes" becomes "A sleek black cat with yellow eyes". Adjectives are
    what spaCy tags so, and participles before their noun; antonyms come from a list of our own, which for colours says the
    opposite in light or on the painter's wheel. An adjective without an antonym there stays. Where none is turned the text
    is empty: the prompt itself would suppress what the user wants. Needs the extra ``text``; raises `InputError` without it.
    """
    return [_negative(doc) for doc in parsed(prompts)]


@cache
def antonyms() -> dict[str, str]:
    """Return the list: an adjective in lower case and its antonym."""
    with _DATA.open(encoding="utf-8", newline="") as file:
        return {row["adjective"]: row["antonym"] for row in csv.DictReader(file)}


def _negative(doc: Doc) -> NegativePrompt:
    known, adjectives, turned = antonyms(), 0, 0
    words: list[str] = []
    for token in doc:
        word = token.text
        if _is_adjective(token):
            adjectives += 1
            if (opposite := known.get(token.lower_)) is not None:
                turned += 1
                word = opposite.capitalize() if token.text[0].isupper() else opposite
                _fit_article(words, word)
        words.append(word + token.whitespace_)
    return NegativePrompt("".join(words) if turned else "", adjectives, turned)


def _is_adjective(token: Token) -> bool:
    """An adjective, or a participle or noun that stands before a noun like one ("a folded shirt"); no part of a-b words."""
    hyphened = any(0 <= k < len(token.doc) and token.doc[k].text == "-" for k in (token.i - 1, token.i + 1))
    return not hyphened and (token.pos_ == "ADJ" or token.dep_ == "amod")


def _fit_article(words: list[str], following: str) -> None:
    """Turn "a" before a word that begins with a vowel into "an", and the other way round."""
    if words and (article := words[-1].rstrip()).lower() in ("a", "an"):
        right = article[0] + ("n" if following[0].lower() in _VOWELS else "")
        words[-1] = right + words[-1][len(article) :]
