"""Public prompts, and the words of them that a user does not want, by extraction: deterministic, no language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from hisopt.arrays import FloatArray, IntArray

Embed = Callable[[Sequence[str]], FloatArray]

_LONGEST = 3  # words of a phrase
_SHORTLIST = 30  # phrases nearest to the cluster's mean, from which a prompt is put together
_LEAST_GAIN = 1e-3  # of similarity, below which nothing is added
# words that say nothing alone
_STOP = frozenset({
    "a", "an", "the", "of", "in", "on", "at", "by", "with", "and", "or", "for", "to", "from", "into", "onto", "over",
    "under", "above", "below", "behind", "beside", "near", "through", "across", "along", "around", "between", "after",
    "before", "its", "his", "her", "their", "two", "three", "one", "some", "very", "is", "are", "being", "while", "as",
    "up", "down", "off", "out",
})  # fmt: skip


def words_of(prompt: str) -> list[str]:
    """Lower-case words of a prompt, in order."""
    return re.findall(r"[^\W_]+(?:['-][^\W_]+)*", prompt.lower())


def phrases_of(prompt: str) -> list[str]:
    """Runs of up to three words within a clause, that neither begin nor end with an article, a preposition or the like."""
    found = []
    for clause in re.split(r"[,.;:!?]", prompt):
        words = words_of(clause)
        for length in range(1, _LONGEST + 1):
            for first in range(len(words) - length + 1):
                phrase = words[first : first + length]
                if phrase[0] not in _STOP and phrase[-1] not in _STOP:
                    found.append(" ".join(phrase))
    return found


def public_prompt(members: Sequence[str], embeddings: FloatArray, embed: Embed, length: int = 40) -> str:
    """Return the prompt put together from the members' words whose embedding is nearest to theirs, greedily.

    Parameters
    ----------
    members, embeddings
        The prompts of one cluster, and their embeddings (members, d) of norm 1.
    embed
        Embeds prompts like `hisopt.text.corpus.embed`.
    length
        Words at most, besides a member's own prompt where that is the nearest text of all.

    It begins with the member or the phrase of one that is most similar to the members on average; phrases are appended as
    long as that raises the average similarity.
    """
    centre = embeddings.mean(axis=0)
    phrases = list(dict.fromkeys(phrase for text in members for phrase in phrases_of(text)))
    texts = [*dict.fromkeys(text.strip() for text in members), *phrases]
    similarity = embed(texts) @ centre
    said, reached = texts[int(np.argmax(similarity))], float(similarity.max())
    nearest = np.argsort(-similarity[len(texts) - len(phrases) :], kind="stable")[:_SHORTLIST]
    left = [phrases[i] for i in nearest]
    while left := [phrase for phrase in left if len(words_of(said)) + len(phrase.split()) <= length]:
        similarity = embed([f"{said}, {phrase}" for phrase in left]) @ centre
        best = int(np.argmax(similarity))
        if similarity[best] < reached + _LEAST_GAIN:
            break
        said, reached = f"{said}, {left.pop(best)}", float(similarity[best])
    return said


def unshared_words(prompt: str, public: str) -> str:
    """Return the words of the public prompt that a user's own prompt lacks, to be suppressed after sharing.

    Ours; the journal paper's NPI is another text: the user's own prompt with its adjectives turned into antonyms.
    """
    own = set(words_of(prompt))
    return ", ".join(word for word in dict.fromkeys(words_of(public)) if word not in own and word not in _STOP)


def similarities(embeddings: FloatArray, clusters: IntArray, public: FloatArray) -> FloatArray:
    """Similarity of each user's prompt to its cluster's public prompt, from embeddings (N, d) and (M, d); shape (N,)."""
    return np.asarray(np.einsum("nd,nd->n", embeddings, public[clusters]))
