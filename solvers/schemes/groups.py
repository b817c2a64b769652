"""Who shares with whom, and how similar a cluster's public prompt is to its members' prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.errors import InputError
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.text.entities import main_entities

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import IccInstance, Instance

GROUPINGS = ("given", "hac", "entity", "one", "own")


def group(instance: Instance | IccInstance, rule: str) -> IntArray:
    """Return labels 0 .. of the groups that a rule forms, shape (N,), none empty.

    ``given`` keeps the instance's clusters, ``hac`` merges to M clusters, ``entity`` puts prompts of one main entity
    together, ``one`` all users, ``own`` leaves each user alone. Raises `InputError` where the data for it are missing.
    """
    if rule == "one":
        return np.zeros(instance.users, dtype=np.int64)
    if rule == "own":
        return np.arange(instance.users)
    if rule == "given":
        return np.unique(instance.labels, return_inverse=True)[1].astype(np.int64)
    if rule == "hac":
        return average_linkage(instance.vectors, instance.max_clusters)
    if instance.prompts is None:
        raise InputError("prompts: missing, and groups of one main entity are made from them")
    return np.unique(main_entities(instance.prompts), return_inverse=True)[1].astype(np.int64)


def member_similarity(embeddings: FloatArray, clusters: IntArray, seed: int) -> FloatArray:
    """Similarity of users (embeddings (N, d) of norm 1) to a random member of their cluster; itself: 1. Shape (N,)."""
    rng = np.random.default_rng(seed)
    found = np.empty(len(clusters))
    for label in np.unique(clusters):
        members = np.flatnonzero(clusters == label)
        found[members] = embeddings[members] @ embeddings[rng.choice(members)]
    return np.clip(found, -1.0, 1.0)


def extracted_similarity(prompts: tuple[str, ...] | None, embeddings: FloatArray, clusters: IntArray) -> FloatArray:
    """Similarity of users to the prompt that `hisopt.text.extract` puts together from their cluster's, shape (N,).

    Raises `InputError` where prompts are missing, where embeddings are not those of all-MiniLM-L6-v2, or its model is.
    """
    from hisopt.text.corpus import MODEL, WIDTH, embed
    from hisopt.text.extract import public_prompt, similarities

    if prompts is None:
        raise InputError("prompts: missing, and public prompts are extracted from them")
    if embeddings.shape[1] != WIDTH:
        raise InputError(f"embeddings: have {embeddings.shape[1]} numbers each, those of {MODEL} {WIDTH}")
    labels = np.unique(clusters, return_inverse=True)[1]
    members = [np.flatnonzero(labels == m) for m in range(labels.max() + 1)]
    public = [public_prompt([prompts[n] for n in users], embeddings[users], embed) for users in members]
    return np.clip(similarities(embeddings, labels, embed(public)), -1.0, 1.0)
