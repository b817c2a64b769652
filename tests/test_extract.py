"""Extracted public and negative prompts."""

from __future__ import annotations

import numpy as np

from hisopt.extract import negative_prompts, public_prompts, words_of
from hisopt.prompts import shipped

PROMPTS = [
    "A red cat on a sofa",
    "a grey cat asleep on a sofa",
    "a cat and a ball",
    "an oak in winter",
    "a bare oak, winter dawn",
]
CLUSTERS = np.array([0, 0, 0, 1, 1])


def test_words_keep_their_order() -> None:
    assert words_of("A soft-boiled egg's  shadow!") == ["a", "soft-boiled", "egg's", "shadow"]


def test_public_prompts_say_what_members_share() -> None:
    public = public_prompts(PROMPTS, CLUSTERS, 3)
    assert public[0].startswith("A red cat on a sofa")
    assert {"oak", "winter"} <= set(words_of(public[1]))
    assert public[2] == ""
    assert public == public_prompts(PROMPTS, CLUSTERS, 3)
    assert public_prompts(["alone"], np.zeros(1, dtype=int), 1) == ["alone"]


def test_negative_prompts_are_what_others_want() -> None:
    public = public_prompts(PROMPTS, CLUSTERS, 2)
    negative = negative_prompts(PROMPTS, CLUSTERS, public)
    assert negative[0] == ""
    assert set(words_of(negative[2])) == {"red", "sofa"}
    for text, own in zip(negative, PROMPTS, strict=True):
        assert not set(words_of(text)) & set(words_of(own))


def test_prompts_of_the_corpus_have_lengths_within_the_limit() -> None:
    corpus = shipped()
    labels = np.array([sorted(set(corpus.subjects)).index(s) for s in corpus.subjects])
    for text in public_prompts(corpus.prompts, labels, 12, length=15):
        assert 0 < len(words_of(text)) <= 20
