"""Nested sharing for many users: depths along the dendrogram of each cluster, moved one at a time.

Each flat cluster is a tree whose splits are those of average linkage within it; what is chosen is the step at which each node
ends. A user leaves where its quality and its device's steps are best along its path of nodes. It begins with the flat optimum
(every node below the root ends where the root does) and keeps moves only where utility rises, so it never ends below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import (
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    quality_table,
    rule_similarity,
    transmission_cost,
)
from hisopt.errors import InputError
from hisopt.problems import Joint
from hisopt.result import Limits
from hisopt.solvers.joint import scalar_coupling
from hisopt.solvers.joint.exact import JointExact

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance


@dataclass
class Tree:
    """One cluster of users as a tree.

    ``nodes`` has the positions of each node's users, parents first, ``parent`` their places (-1: the root), ``gain`` w1 times the
    change of quality by step t plus d_n, shape (nodes, users, x_max), ``start`` w1 sum Q_n(0), ``end`` the step at which each
    node ends.
    """

    users: IntArray
    nodes: list[IntArray]
    parent: list[int]
    gain: FloatArray
    start: float
    end: IntArray

    def common(self) -> tuple[float, IntArray, int]:
        """Return the value of the common steps without their cost, each user's x, and how many steps the server runs."""
        steps, count = self.gain.shape[2], len(self.users)
        node_at = np.full((steps, count), -1)
        for node, positions in enumerate(self.nodes):
            begin = int(self.end[self.parent[node]]) if self.parent[node] >= 0 else 0
            node_at[begin : self.end[node], positions] = node
        rows, columns = np.nonzero(node_at >= 0)
        value = np.full((steps, count), -np.inf)
        value[rows, columns] = self.gain[node_at[rows, columns], columns, rows]
        total = np.vstack([np.zeros(count), np.cumsum(value, axis=0)])
        common = total.argmax(axis=0)
        run = sum(len(np.unique(node_at[t, common > t])) for t in range(int(common.max(initial=0))))
        return self.start + float(total.max(axis=0).sum()), common, run

    def moved(self, price: float) -> bool:
        """Move each node's end to where it is best at a price of a server step, once; return whether any moved."""

        def value() -> float:
            gain, _, run = self.common()
            return gain - price * run

        best, any_moved = value(), False
        for node, parent in enumerate(self.parent):
            first, kept = int(self.end[parent]) if parent >= 0 else 0, self.end.copy()
            for end in range(first, self.gain.shape[2] + 1):
                self.end = kept.copy()
                self.end[node] = end
                for below in range(node + 1, len(self.nodes)):  # parents come first
                    if self.parent[below] >= 0:
                        self.end[below] = max(self.end[below], self.end[self.parent[below]])
                if (found := value()) > best + 1e-12 * abs(best):
                    best, kept, any_moved = found, self.end.copy(), True
            self.end = kept
        return any_moved


def grown(instance: Instance, users: IntArray, end: int) -> Tree:
    """Return the dendrogram of some users by average linkage, every node ending at a step: a flat cluster."""
    from scipy.cluster.hierarchy import linkage, to_tree

    nodes, parent = [np.arange(len(users))], [-1]
    if len(users) > 2:
        similarity = instance.similarity_matrix[np.ix_(users, users)]
        upper = np.triu_indices(len(users), k=1)
        ahead = [(to_tree(linkage(np.maximum(1 - similarity[upper], 0.0), method="average")), 0)]
        while ahead:
            here, place = ahead.pop()
            for child in (here.get_left(), here.get_right()):
                if child is not None and child.get_count() > 1:
                    nodes.append(np.sort(child.pre_order()))
                    parent.append(place)
                    ahead.append((child, len(nodes) - 1))
    steps, weight = instance.steps.common_max, instance.weights.quality
    gain = np.zeros((len(nodes), len(users), steps))
    start = 0.0
    for place, positions in enumerate(nodes):
        labels = np.ones(instance.users, dtype=np.int64)
        labels[users[positions]] = 0
        phi = rule_similarity(instance, labels)[users]
        quality = weight * quality_table(instance.quality, phi, steps)
        gain[place] = np.diff(quality, axis=1) + device_step_cost(instance)[users][:, None]
        if place == 0:
            start = float(quality[:, 0].sum())
    return Tree(users, nodes, parent, gain, start, np.full(len(nodes), end))


def finished(instance: Instance, trees: list[Tree]) -> tuple[float, IntArray]:
    """Return the utility of trees with the best y and SMs, and W_m: users get y_max by decreasing d_n."""
    energy, most = edge_step_energy_cost(instance), instance.steps.edge_max
    device = device_step_cost(instance)
    cost = edge_work_cost(instance, np.array([len(tree.users) for tree in trees]))
    gains, loads, works = [], [], []
    for tree, unit in zip(trees, cost, strict=True):
        value, _, run = tree.common()
        served = most * np.concatenate([[0.0], np.cumsum(np.sort(device[tree.users])[::-1])])
        work = run + most * np.arange(len(served))
        gains.append(value + served - energy * work)
        loads.append(np.sqrt(unit * work))
        works.append(work)
    offsets = np.concatenate([[0], np.cumsum([len(gain) for gain in gains])])
    constant = -transmission_cost(instance) - instance.steps.total * float(device.sum())
    found = scalar_coupling.maximise(
        np.concatenate(gains), np.concatenate(loads), offsets, instance.sm_budget, constant=constant
    )
    return constant + found.value, np.concatenate(works)[found.choice]


def improved(instance: Instance, sweeps: int = 4) -> tuple[float, float]:
    """Return the utility of an instance's clusters, flat (proven optimal) and as trees.

    Raises `InputError` where y must be positive or z's limits bind, for which trees are not stated.
    """
    steps = instance.steps
    if steps.edge_min or steps.common_max + steps.edge_max > steps.total - steps.device_min:
        raise InputError("steps: limits on y or z bind, and sharing in trees is stated without them")
    problem = Joint(instance)
    flat = JointExact().solve(problem, Limits(60.0))
    if flat.decision is None or (before := problem.evaluate(flat.decision).objective) is None:
        raise InputError(f"{problem.label}: {flat.message or flat.termination.value}")
    labels, (common, _) = instance.labels, flat.decision.server_steps
    groups = [np.flatnonzero(labels == m) for m in range(instance.max_clusters) if (labels == m).any()]
    trees = [grown(instance, users, int(common[users].max())) for users in groups]
    cost = edge_work_cost(instance, np.array([len(users) for users in groups]))
    best, work = finished(instance, trees)
    for _ in range(sweeps):
        kept, load = [tree.end.copy() for tree in trees], float(np.sqrt(cost * work).sum())
        prices = edge_step_energy_cost(instance) + np.sqrt(cost / np.maximum(work, 1)) * load / instance.sm_budget
        if not sum(tree.moved(float(price)) for tree, price in zip(trees, prices, strict=True)):
            break
        value, found = finished(instance, trees)
        if value <= best:
            for tree, end in zip(trees, kept, strict=True):
                tree.end = end
            break
        best, work = value, found
    return before, max(best, before)
