"""The main entity of a prompt: the head of its first noun phrase, found by spaCy's tagger and parser."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.text.tagging import lemma, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spacy.tokens import Doc, Token

# Nouns that say how much of a thing there is, what holds it or what shows it: of "a bowl of ramen" the entity is the ramen
_PICTURES = frozenset({
    "photo", "photograph", "picture", "image", "portrait", "painting", "watercolour", "watercolor", "drawing", "sketch",
    "illustration", "render", "rendering", "print", "poster", "close-up", "closeup", "view", "shot", "scene", "silhouette",
    "sculpture", "statue", "snapshot", "panorama", "engraving", "mosaic", "mural",
})  # fmt: skip
_MEASURES = frozenset({
    "bowl", "plate", "cup", "mug", "glass", "bottle", "jar", "pot", "pan", "basket", "box", "bag", "bucket", "crate", "tray",
    "vase", "pitcher", "jug", "barrel", "slice", "piece", "loaf", "stack", "pile", "heap", "pair", "couple", "set", "bunch",
    "bouquet", "cluster", "row", "line", "group", "crowd", "herd", "flock", "school", "swarm", "pack", "pride", "colony",
    "fleet", "convoy", "caravan", "army", "team", "band", "field", "layer", "handful", "drop", "bed", "patch",
})  # fmt: skip
_SHIPPED = Path(__file__).parents[1] / "data" / "prompts.csv"


def main_entities(prompts: Sequence[str]) -> list[str]:
    """Return the main entity of each prompt: a singular noun in lower case, empty for a prompt without words.

    It is the head of the first noun phrase; of a measure, a holder or a picture "of" something, that something. Other words
    for one thing are other entities: "kitten" is not "cat". Those of the shipped prompts are kept; others need the extra
    ``text`` (spaCy and its small English model). Raises `InputError` without it.
    """
    kept = _kept()
    unknown = [prompt for prompt in dict.fromkeys(prompts) if prompt not in kept]
    found = dict(zip(unknown, map(_entity, parsed(unknown)), strict=True)) if unknown else {}
    return [kept[prompt] if prompt in kept else found[prompt] for prompt in prompts]


def parsed_entities(prompts: Sequence[str]) -> list[str]:
    """Return the main entities by spaCy alone, see `main_entities`."""
    return [_entity(doc) for doc in parsed(prompts)]


@cache
def _kept() -> dict[str, str]:
    with _SHIPPED.open(encoding="utf-8", newline="") as file:
        return {row["prompt"]: row["entity"] for row in csv.DictReader(file) if row.get("entity")}


def _entity(doc: Doc) -> str:
    heads = [chunk.root for chunk in doc.noun_chunks] or [t for t in doc if t.pos_ in ("NOUN", "PROPN")]
    if not heads:
        words = [t for t in doc if not (t.is_punct or t.is_space)]
        return lemma(words[0]) if words else ""
    head = heads[0]
    while _is_measure(head) and (inner := _object_of(head)) is not None:
        head = inner
    return lemma(head)


def _is_measure(noun: Token) -> bool:
    hyphened = noun.i > 1 and noun.nbor(-1).text == "-"  # "close-up" is three tokens
    word = f"{noun.nbor(-2).lower_}-{noun.lower_}" if hyphened else lemma(noun)
    return word in _PICTURES | _MEASURES


def _object_of(noun: Token) -> Token | None:
    """What follows "of" after a noun."""
    for child in noun.rights:
        if child.lower_ == "of":
            return next((t for t in child.children if t.dep_ == "pobj"), None)
    return None
