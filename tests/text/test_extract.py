"""Extracted public and negative prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.text.corpus import unit_rows
from hisopt.text.extract import phrases_of, public_prompt, similarities, unshared_words, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.arrays import FloatArray

WORDS = ("cat", "sofa", "red", "grey", "ball", "oak", "winter")


def embed(texts: Sequence[str]) -> FloatArray:
    """Which of the words occur."""
    return unit_rows(np.array([[1e-3, *(word in words_of(text) for word in WORDS)] for text in texts]))


def test_words_keep_their_order() -> None:
    assert words_of("A soft-boiled egg's  shadow!") == ["a", "soft-boiled", "egg's", "shadow"]


def test_phrases_stay_within_clauses_and_leave_prepositions_inside() -> None:
    assert phrases_of("A cat on the sofa, red") == ["cat", "sofa", "red"]
    assert "cat on sofa" in phrases_of("a cat on sofa")


def test_a_public_prompt_says_what_members_share() -> None:
    members = ["a red cat on a sofa", "a grey cat asleep on a sofa", "a cat and a ball"]
    public = public_prompt(members, embed(members), embed)
    assert {"cat", "sofa"} <= set(words_of(public))
    assert public == public_prompt(members, embed(members), embed)
    centre = embed(members).mean(axis=0)
    reached = (embed([public]) @ centre).item()
    assert reached >= (embed(members) @ centre).max()
    # nothing that these words can say comes nearer
    every = [" ".join(w for w, used in zip(WORDS, f"{k:07b}", strict=True) if used == "1") for k in range(1, 128)]
    assert reached >= (embed(every) @ centre).max() - 2e-3


def test_public_prompts_of_one_user_and_of_few_words() -> None:
    assert public_prompt([" an oak in winter "], embed(["oak winter"]), embed) == "an oak in winter"
    members = ["red cat", "grey ball", "oak sofa", "winter cat"]
    assert len(words_of(public_prompt(members, embed(members), embed, length=2))) <= 2


def test_unshared_words_are_those_of_others() -> None:
    assert unshared_words("a red cat on a sofa", "red cat, sofa") == ""
    assert unshared_words("a cat and a ball", "a red cat on a sofa") == "red, sofa"


def test_similarities_are_to_the_own_cluster() -> None:
    users, public = embed(["cat", "oak", "cat sofa"]), embed(["cat", "oak"])
    np.testing.assert_allclose(
        similarities(users, np.array([0, 1, 0]), public), [1, 1, (users[2] @ public[0])], rtol=1e-6
    )
