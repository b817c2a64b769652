"""Which replies to take when some of them are nearly as likely as others: the combination with the best utility."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.policy.replies import Replies


def settle(seen: Replies, likelihood: FloatArray, doubts: int) -> IntArray:
    """Return a reply of each cluster, shape (M,).

    The most likely replies (``likelihood``, log-probabilities or any other order, shape (M, R)) are open to ``doubts``
    others, those that are least behind the most likely one of their cluster. Of all combinations, at most 2^doubts, the
    one with the largest utility is taken; the utility is sum gain - (sum load)^2, so that each costs a few additions.
    """
    rows = np.arange(len(likelihood))
    choice = likelihood.argmax(axis=1)
    behind = likelihood[rows, choice][:, None] - likelihood
    behind[rows, choice] = np.inf
    flat = behind.ravel()
    open_to = np.argsort(flat, kind="stable")[:doubts]
    clusters, others = np.divmod(open_to[np.isfinite(flat[open_to])], likelihood.shape[1])
    gain, load = (values[rows, choice].sum(keepdims=True) for values in (seen.gain, seen.load))
    options = []
    for cluster in np.unique(clusters):
        own = np.append(choice[cluster], others[clusters == cluster])
        gain, load = (
            (sums[:, None] + values[cluster, own] - values[cluster, own[0]]).ravel()
            for sums, values in ((gain, seen.gain), (load, seen.load))
        )
        options.append(own)
    best = np.unravel_index(int(np.argmax(gain - load**2)), [len(own) for own in options]) if options else ()
    for cluster, own, index in zip(np.unique(clusters), options, best, strict=True):
        choice[cluster] = own[index]
    return np.asarray(choice)
