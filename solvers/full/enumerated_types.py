"""What a cluster's type is worth, exactly, for few users: the best over all sets of its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.solvers.clustering.partitions import membership
from hisopt.solvers.full import subset_tables
from hisopt.solvers.full.cluster_types import Excess, TypeBounds

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance

MAX_USERS = 10


class EnumeratedTypes(TypeBounds):
    """`TypeBounds` of up to 10 users that need no bounds on excess: every set's own similarities are known."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance, Excess(np.zeros(0), np.zeros(0), np.zeros(0)))
        users = instance.users
        self._member = membership(users)
        self._sizes = self._member.sum(axis=1).astype(np.int64)
        members = subset_tables.members(instance, np.arange(1 << users))
        value = np.maximum.accumulate(members.common_value(slice(None)), axis=1)
        common = np.zeros((1 << users, value.shape[1]))
        np.add.at(common, members.labels, value)
        dear = np.argsort(-self.saved, kind="stable")
        place = np.cumsum(self._member[:, dear], axis=1)  # of a member among its set, by decreasing d_n
        span = instance.steps.edge_max - instance.steps.edge_min
        lost = span * self._member[:, dear] * self.saved[dear]
        served = np.stack([-(lost * (place > filled)).sum(axis=1) for filled in range(users + 1)], axis=1)
        self._worth = common[:, :, None] + served[:, None, :]

    @override
    def _most(self, price: FloatArray, excess_price: FloatArray) -> FloatArray:
        worth = self._worth - (self._member @ price)[:, None, None]
        most = np.full((self.instance.users + 1, *worth.shape[1:]), -np.inf)
        np.maximum.at(most, self._sizes, worth)
        return most.swapaxes(0, 1)
