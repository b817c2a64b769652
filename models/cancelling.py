"""Clusters whose embeddings nearly cancel, where angles drown in a solver's tolerances: phi_n stated outright.

The full model defines phi_n by norm_n^2 = the sum of S over n's cluster and phi_n norm_n = the sum of S from n to it.
Where norm_n vanishes, any phi_n satisfies both; where it is short, any phi_n does within tolerances, or SCIP 10 cuts off the
optimum. So the clusters C with a sum shorter than 0.3 are listed: each pins its members' phi to that of the evaluation,
from which they may differ by no more than 2 for every user by which the actual cluster differs from C, and where C is
the cluster neither equation need hold. So norm_n can be kept from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyomo.environ as pyo

from hisopt.equations import rule_similarity
from hisopt.models.common import ROOM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

SHORT = 0.3  # a tolerance of 1e-6 on a sum at least this long is worth 1e-5 of phi_n
LEAST_NORM = SHORT / ROOM
_MOST_USERS, _MOST_CLUSTERS = 15, 2000


@dataclass(frozen=True)
class Cancelling:
    """A cluster with a short sum: its users and their phi."""

    users: tuple[int, ...]
    phi: FloatArray


def cancelling(instance: Instance) -> list[Cancelling]:
    """Return the clusters with sums shorter than `SHORT` that the instance allows.

    Raises
    ------
    ValueError
        Where more users or clusters cancel than can be listed.
    """
    similarity, users = instance.similarity_matrix, _critical(instance.similarity_matrix)
    if len(users) > _MOST_USERS:
        raise ValueError(
            f"the embeddings of {len(users)} users nearly cancel in some clusters: this model of the full problem lists "
            f"such clusters, and can for up to {_MOST_USERS} users"
        )
    member = (np.arange(1 << len(users))[:, None] >> np.arange(len(users))) & 1
    sizes = member.sum(axis=1)
    squares = ((member @ similarity[np.ix_(users, users)]) * member).sum(axis=1)
    most = instance.cluster_size_max or instance.users
    least = instance.users if instance.max_clusters == 1 else max(instance.cluster_size_min, 2)
    found = np.flatnonzero((squares < SHORT**2) & (sizes >= least) & (sizes <= most))
    if len(found) > _MOST_CLUSTERS:
        raise ValueError(
            f"the embeddings nearly cancel in {len(found)} clusters: this model of the full problem lists such clusters, "
            f"and can list {_MOST_CLUSTERS}"
        )
    return [_described(instance, users[member[subset] == 1]) for subset in found]


def _critical(similarity: FloatArray) -> IntArray:
    """Return the users that can be in a cluster with a short sum: its others must bring -0.7 to each one's own 1."""
    users = np.arange(len(similarity))
    while len(users):
        block = similarity[np.ix_(users, users)]
        stays = np.minimum(block, 0.0).sum(axis=1) <= SHORT - np.diag(block)
        if stays.all():
            break
        users = users[stays]
    return users


def _described(instance: Instance, users: IntArray) -> Cancelling:
    labels = np.zeros(instance.users, dtype=np.int64)
    labels[users] = 1
    return Cancelling(tuple(users.tolist()), rule_similarity(instance, labels)[users])


def add(model: pyo.ConcreteModel, instance: Instance, square: Mapping[int, Any]) -> None:
    """Pin phi in the cancelling clusters; relate it to ``norm`` elsewhere (``squares``, ``align``).

    ``square[n]`` is the sum of S over n's cluster. ``is_cluster[c]`` may be 1 only if cancelling cluster c is one.
    """
    found = cancelling(instance)
    model.is_cluster = pyo.Var(range(len(found)), bounds=(0, 1))
    model.norm = pyo.Var(model.users, bounds=(LEAST_NORM, ROOM * instance.users))
    for name in ("exact", "pinned", "squares", "align"):
        setattr(model, name, pyo.ConstraintList())
    for c, one in enumerate(found):
        differs = _differences(model, one.users)
        for term in differs:
            model.exact.add(model.is_cluster[c] <= 1 - term)
        for n, phi in zip(one.users, one.phi.tolist(), strict=True):
            model.pinned.add(model.phi[n] <= phi + 2 * ROOM * sum(differs))
            model.pinned.add(model.phi[n] >= phi - 2 * ROOM * sum(differs))
    for n in model.users:
        own = sum(model.is_cluster[c] for c, one in enumerate(found) if n in one.users)
        longer, turned = model.norm[n] ** 2 - square[n], model.phi[n] * model.norm[n] - model.to_sum[n]
        if isinstance(own, int):
            model.squares.add(longer == 0)
            model.align.add(turned == 0)
        else:
            model.squares.add(longer >= 0)
            model.squares.add(longer <= SHORT**2 * own)
            model.align.add(
                turned <= 2 * ROOM * SHORT * own
            )  # phi_n norm_n and the sum of S to n are below SHORT there
            model.align.add(turned >= -2 * ROOM * SHORT * own)


def _differences(model: pyo.ConcreteModel, users: tuple[int, ...]) -> list[Any]:
    """Return, for each user but the first of a cluster, what is 1 if it is in that user's actual cluster wrongly, or not."""
    first = users[0]
    together = {j: model.together[min(first, j), max(first, j)] for j in model.users if j != first}
    return [1 - pair if j in users else pair for j, pair in together.items()]


def insert(model: pyo.ConcreteModel, instance: Instance, labels: IntArray) -> None:
    """Set ``is_cluster`` and ``norm`` to a partition."""
    for n in model.users:
        members = labels == labels[n]
        square = float(instance.similarity_matrix[np.ix_(members, members)].sum())
        model.norm[n].set_value(max(square, LEAST_NORM**2) ** 0.5)
    found = cancelling(instance)
    clusters = {tuple(np.flatnonzero(labels == m).tolist()) for m in set(labels.tolist())}
    for c in model.is_cluster:
        model.is_cluster[c].set_value(int(found[c].users in clusters))
