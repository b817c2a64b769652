"""The main entity of a prompt: the head noun of its first noun phrase, by rules of our own and without any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisopt.text.extract import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_SKIPPED = frozenset({"a", "an", "the", "two", "three", "some", "many", "of", "his", "her", "its", "their"})
_ENDS = frozenset({
    "in", "on", "at", "by", "with", "and", "or", "for", "to", "from", "into", "onto", "over", "under", "above", "below",
    "behind", "beside", "near", "through", "across", "along", "around", "between", "after", "before", "who", "that",
    "seen", "lit", "covered", "asleep", "reflected", "made", "full", "turned", "packed", "wrapped", "hidden", "stuck",
})  # fmt: skip
_MEASURES = frozenset({
    "portrait", "bowl", "plate", "slice", "stack", "pot", "cup", "jar", "loaf", "fleet", "colony", "layers", "rows",
    "bouquet", "field", "surface", "row", "pile", "convoy", "army",
})  # fmt: skip
_ATTRIBUTIVE = frozenset(
    {"sailing", "fishing", "rowing", "racing", "living", "reading", "dining", "floating", "winding"}
)


def main_entity(prompt: str) -> str:
    """Return the head noun of the first noun phrase in the singular; of "a bowl of ramen", what the bowl holds.

    A phrase ends at a preposition or conjunction, at a verb form in -ing that is not one of a few that stand before nouns,
    or at one in -ed before a preposition. A prompt without words has the empty entity. Other words for the same thing are
    other entities: the shipped 240 prompts have 194. Of their pairs with one entity 96 % have one subject of the corpus, of
    those with one subject 6 % one entity.
    """
    phrase: list[str] = []
    words = words_of(prompt)
    for place, word in enumerate(words):
        follows = place + 1 < len(words)
        if word == "of":
            if phrase and phrase[-1] in _MEASURES:
                phrase = []
                continue
            break
        if word in _SKIPPED and not phrase:
            continue
        verb = word.endswith("ing") and word not in _ATTRIBUTIVE
        verb |= word.endswith("ed") and len(word) > 3 and follows and words[place + 1] in _ENDS
        if word in _ENDS or word in _SKIPPED or (verb and phrase and follows):
            if phrase:
                break
            continue
        phrase.append(word)
    return _singular(phrase[-1]) if phrase else ""


def main_entities(prompts: Sequence[str]) -> list[str]:
    """Return the main entity of each prompt."""
    return [main_entity(prompt) for prompt in prompts]


def _singular(noun: str) -> str:
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun
