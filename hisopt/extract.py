"""Public prompts of clusters and negative prompts of users by extraction: deterministic, without a language model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from hisopt.arrays import IntArray

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


def public_prompts(prompts: Sequence[str], clusters: IntArray, count: int, length: int = 12) -> list[str]:
    """Return a prompt for each of ``count`` clusters, empty where a cluster is.

    The cluster's most central member by shared words opens it; then come the words that most other members share, until
    there are ``length``: what is common to the cluster is said, what one user alone wants is left out.
    """
    found = []
    for m in range(count):
        members = [prompts[n] for n in range(len(prompts)) if clusters[n] == m]
        found.append(_public(members, length) if members else "")
    return found


def _public(members: list[str], length: int) -> str:
    bags = [[word for word in dict.fromkeys(words_of(text)) if word not in _STOP] for text in members]
    spread = Counter(word for bag in bags for word in bag)
    centre = max(range(len(members)), key=lambda i: (sum(spread[w] for w in bags[i]) / max(len(bags[i]), 1), -i))
    first = members[centre].strip()
    said = set(words_of(first))
    shared = [word for word, times in sorted(spread.items(), key=lambda pair: (-pair[1], pair[0])) if times > 1]
    added = [word for word in shared if word not in said][: max(length - len(said), 0)]
    return ", ".join([first, *added])


def negative_prompts(prompts: Sequence[str], clusters: IntArray, public: Sequence[str]) -> list[str]:
    """Return for each user what its cluster's public prompt says and its own prompt does not, to be suppressed (NPI)."""
    found = []
    for n, prompt in enumerate(prompts):
        own = set(words_of(prompt))
        extra = [w for w in dict.fromkeys(words_of(public[int(clusters[n])])) if w not in own and w not in _STOP]
        found.append(", ".join(extra))
    return found
