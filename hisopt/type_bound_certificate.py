"""Bounds on the full problem, computed anew from a certificate's numbers and the instance, without the solver.

A certificate (`hisopt.solvers.full.certify` makes one) is plain JSON values. Whatever its numbers are, the bound that is
returned holds for P_I + P_II with the instance's numbers as they are stored, SMs real or whole and V of them at most; bad
numbers only make it weak. Not certified: that embeddings are those of the prompts, and claims below 1e-12 of the size of
the terms, the margin for the rounding of floats.

1. Limits on z go. The utility is then convex in each y_n alone (-S^2 is, S = sum_m sqrt(c_m W_m), and the rest is linear),
   so y_n is y_min or y_max. A cluster's type is (X, k, J): X_m, its size, and how many members have y_max.
2. v_n(phi) = max_{x <= X} [w1 Q(phi, x) - d_n (x_max - x)] is convex between the similarities of the table. Where a_n +
   sum_h beta_h (phi - t_h)_+ is no less at those, at t_h and at -1 and 1, it is no less anywhere, for every beta.
3. A cluster's excess E_h = sum over its members of (phi - t_h)_+ is at most K_h, and that of all clusters T_h. For mu >= 0,
   sum_h beta_h E_h <= sum_h mu_h E_h + sum_h (beta_h - mu_h)_+ K_h, and the clusters' mu_h E_h are mu_h T_h at most.
4. Rule ``ideal``, t >= 0: with H the members above t, E <= |sum_H e| - t |H| <= <C, Z> with C = S / (2 r) + r / 2 - t and
   Z = 1_H 1_H' / |H|, for every r > 0; summed over clusters, Z is a projection of trace <= M. For every matrix R, <C, Z> is
   at most the M largest positive eigenvalues of C - (R + R') / 2, and for each user i the largest mean of R_ij over a set
   of j with i in it, or 0.
5. Each user is in one cluster, so prices pi_n are paid as often as they are earned. The k members of a cluster, J of them
   with y_max, are worth sum_n [a_n - pi_n - s_n + (s_n - l)_+] + l J at most, for every l; s_n = (y_max - y_min) d_n.
6. M types, sizes adding up to N, by dynamic programming. Loads are rounded down to buckets of width w, sum_m load_m = B +
   rest with 0 <= rest < M w, and -(B + rest)^2 <= -B^2 - 2 theta rest + 2 (theta - B)_+ M w, for every theta >= 0.

Of up to 12 users all sets can be tried in place of 2 to 5: their similarities are then known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

MOST_SETS = 12  # users of whom all sets are tried
_MARGIN = 1e-12  # of the size of the terms, for their rounding
_LARGEST = 1e100  # of a certificate's numbers
_RANGE = (1e-6, 1e6)  # of r
_LEVELS = 33  # of l
_BUCKETS = 1000
_PASSES = 4  # with theta where the pass before had its maximum


def proven_upper_bound(certificate: dict[str, Any], instance: Instance) -> float:
    """Return the bound that a certificate claims, or the least one above it that it proves.

    Raises `InputError`, which says where, if it proves none: a number is missing, not finite or of the wrong sign, a
    shape is not the instance's, or no partition meets the limits on cluster sizes.
    """
    if not isinstance(certificate, dict):
        raise InputError("certificate: must be a dict")
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = _bound(certificate, _Terms.of(instance))
    except (FloatingPointError, np.linalg.LinAlgError) as error:
        raise InputError(f"certificate: its numbers cannot be computed with ({error})") from None
    if not np.isfinite(found):
        raise InputError("certificate: proves no finite bound")
    return found


def _bound(certificate: dict[str, Any], terms: _Terms) -> float:
    instance, users = terms.instance, terms.instance.users
    claim = float(_numbers(certificate, "bound"))
    price = _numbers(certificate, "user_prices", users)
    if certificate.get("sets", False) is True:
        most, earned, size = _by_sets(terms, price), 0.0, 0.0
    else:
        most, earned, size = _by_similarity(terms, certificate, price)
    members = np.arange(users + 1)
    least, largest = instance.cluster_size_min, instance.cluster_size_max or users
    possible = (members[None, :] <= members[:, None]) & ((members >= least) & (members <= largest))[:, None]
    x, k, filled = np.nonzero(np.broadcast_to(possible, most.shape))
    limits = instance.steps
    work = x + limits.edge_min * k + (limits.edge_max - limits.edge_min) * filled
    gain, load = most[x, k, filled] - terms.step * work, np.sqrt((terms.wait * k + terms.idle) * work)
    size += terms.size + instance.max_clusters * float(np.abs(gain).max(initial=0.0))
    size += float(np.abs(price).sum()) + abs(earned)
    kinds = _undominated(np.append(k, 0), np.append(gain, 0.0), np.append(load, 0.0))  # the empty cluster, too
    return _best(kinds, instance, terms.constant + float(price.sum()) + earned + _MARGIN * size, claim)


def _numbers(values: dict[str, Any], name: str, *shape: int, least: float = -_LARGEST, place: str = "") -> FloatArray:
    """An entry of a certificate, known to be finite numbers of a shape."""
    try:
        array = np.asarray(values[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        array = np.asarray("")
    if array.shape == shape and array.dtype.kind in "iuf":
        numbers = array.astype(np.float64)
        if bool(((numbers >= least) & (numbers <= _LARGEST)).all()):
            return numbers
    kind = f"{' x '.join(map(str, shape))} finite numbers" if shape else "a finite number"
    raise InputError(f"certificate: {place}{name}: must be {kind}" + (" >= 0" if least == 0 else ""))


@dataclass(frozen=True)
class _Terms:
    """The utility's coefficients, from (7)-(19) and (23): d_n (N,), c_m = ``wait`` |N_m| + ``idle``, e, w1 Q at knots."""

    instance: Instance
    device: FloatArray
    wait: float
    idle: float
    step: float
    quality: FloatArray  # (knots, X)
    constant: float  # sending, and steps on the devices beyond x_max and y_max
    size: float

    @classmethod
    def of(cls, instance: Instance) -> _Terms:
        w, edge, own, radio, latent = (
            instance.weights, instance.edge, instance.devices, instance.radio, instance.latent,
        )  # fmt: skip
        per_sm = own.frequency_hz * own.flop_per_cycle * own.utilisation
        joule = own.energy_coefficient * own.frequency_hz**3 * (own.power_per_sm + own.power_static / own.sms)
        device = np.broadcast_to(instance.flop_device / per_sm * (w.delay / own.sms + w.energy * joule), instance.users)
        second = float(instance.flop_edge / (edge.frequency_hz * edge.flop_per_cycle * edge.utilisation))
        watt = float(edge.energy_coefficient * edge.frequency_hz**3)
        bits = latent.height * latent.width * latent.channels * latent.bits / latent.compression
        ratio = radio.power_w * radio.gain / (radio.noise_w_per_hz * radio.bandwidth_hz)
        sent = bits / (radio.bandwidth_hz * np.log1p(ratio) / np.log(2)) * (w.delay + w.energy * radio.power_w)
        steps = np.arange(instance.steps.common_max + 1)
        scale, slope, middle, floor = (column[:, None] for column in instance.quality.coefficients.T)
        quality = w.quality * (scale / (1 + np.exp(np.minimum(slope * (steps - middle), 700))) + floor)
        most = instance.steps.common_max + instance.steps.edge_max
        cost = float(np.broadcast_to(sent, instance.users).sum())
        constant = -cost - (instance.steps.total - most) * float(device.sum())
        size = cost + instance.users * float(np.abs(quality).max())
        size += (instance.steps.total + most) * float(device.sum())
        step, idle = w.energy * second * watt * float(edge.power_per_sm), w.energy * second * watt
        return cls(
            instance, device, w.delay * second, idle * float(edge.power_static), step, quality, constant, float(size)
        )

    def worth(self, similarity: FloatArray) -> FloatArray:
        """w1 Q(phi, x) at similarities (P,), linear between those of the table; (P, X)."""
        knots = self.instance.quality.similarity
        return np.stack([np.interp(similarity, knots, column) for column in self.quality.T], axis=1)

    def lost(self, users: slice | IntArray = slice(None)) -> FloatArray:
        """d_n (x_max - x) of users; (users, X)."""
        return np.asarray(self.device[users][:, None] * np.arange(self.instance.steps.common_max, -1, -1))

    @property
    def served(self) -> FloatArray:
        """s_n, (N,)."""
        return (self.instance.steps.edge_max - self.instance.steps.edge_min) * self.device


def _by_similarity(terms: _Terms, certificate: dict[str, Any], price: FloatArray) -> tuple[FloatArray, float, float]:
    """What members of a type are worth less prices and before the server's cost, (X, N + 1, N + 1).

    Also what excess costs at its prices, and the size of the terms.
    """
    instance, users = terms.instance, terms.instance.users
    try:
        count, slopes = len(certificate["thresholds"]), list(certificate["slopes"])
    except (KeyError, TypeError):
        raise InputError("certificate: thresholds and slopes: must be lists") from None
    if count and instance.public_prompt.rule != "ideal":
        raise InputError(f"certificate: thresholds: mean nothing under the rule {instance.public_prompt.rule}")
    if len(slopes) != terms.quality.shape[1] or not all(isinstance(lists, list) for lists in slopes):
        raise InputError(f"certificate: slopes: must be {terms.quality.shape[1]} lists, one for each X")
    threshold = _numbers(certificate, "thresholds", count, least=0.0)
    dear = _numbers(certificate, "excess_prices", count, least=0.0)
    one, together = _excesses(certificate, instance, threshold)
    knots = np.unique(np.concatenate([instance.quality.similarity, threshold, [-1.0, 1.0]]))
    above = np.maximum(knots[:, None] - threshold, 0.0)
    value = np.maximum.accumulate(terms.worth(knots)[:, None, :] - terms.lost(), axis=2)
    levels = np.unique(np.quantile(terms.served, np.linspace(0, 1, _LEVELS)))[:, None]
    most, size = np.full((len(slopes), users + 1, users + 1), np.inf), 0.0
    for x, lists in enumerate(slopes):
        for beta in [np.zeros(count)] + [
            _numbers({"slopes": own}, "slopes", count, place=f"X = {x}, list {i}: ") for i, own in enumerate(lists)
        ]:
            size = max(size, users * float((above @ np.abs(beta)).max()))
            alone = (value[:, :, x] - (above @ beta)[:, None]).max(axis=0) - price - terms.served
            each = -np.sort(-(alone + np.maximum(terms.served - levels, 0.0)), axis=1)
            best = np.zeros((len(levels), users + 1))
            best[:, 1:] = np.cumsum(each, axis=1) + np.maximum(beta - dear, 0.0) @ one
            for level, total in zip(levels[:, 0], best, strict=True):
                np.minimum(most[x], total[:, None] + level * np.arange(users + 1), out=most[x])
    return most, float(dear @ together), size


def _excesses(certificate: dict[str, Any], instance: Instance, threshold: FloatArray) -> tuple[FloatArray, FloatArray]:
    """K_h and T_h, (H,): what r and R prove, or that no similarity exceeds 1."""
    found = []
    for name, clusters in (("one", 1), ("all", instance.max_clusters)):
        proofs = certificate.get(name)
        if not isinstance(proofs, list) or len(proofs) != len(threshold):
            raise InputError(f"certificate: {name}: must be a list, with an entry for each threshold")
        bounds = instance.users * np.maximum(1.0 - threshold, 0.0)
        for h, proof in enumerate(proofs):
            if proof is not None:
                bounds[h] = min(bounds[h], _excess(proof, f"{name}, threshold {h}: ", instance, threshold[h], clusters))
        found.append(bounds)
    return found[0], np.minimum(found[1], instance.max_clusters * found[0])


def _excess(proof: dict[str, Any], place: str, instance: Instance, threshold: float, clusters: int) -> float:
    """Step 4, rounded up: eigenvalues by those of the product V L V', whose distance from the matrix is measured.

    |lambda_k - l_k| <= |A - V L V'| + |l_k| |V'V - 1| (Weyl, 1912; Ostrowski, 1959) in the norm of Frobenius, with the
    rounding of the products and of A's entries below eps n^2 (n + d) times their size.
    """
    users, size = instance.users, instance.vectors.shape[1]
    r, rows = float(_numbers(proof, "r", place=place)), _numbers(proof, "rows", users, users, place=place)
    if not _RANGE[0] <= r <= _RANGE[1]:
        raise InputError(f"certificate: {place}r: is {r}, must be in {_RANGE[0]:g} .. {_RANGE[1]:g}")
    matrix = instance.vectors @ instance.vectors.T / (2 * r) + (r / 2 - threshold) - (rows + rows.T) / 2
    matrix = (matrix + matrix.T) / 2
    terms = 1 / r + r + threshold + float(np.abs(rows).max())
    values, vectors = np.linalg.eigh(matrix)
    away = float(np.linalg.norm(matrix - (vectors * values) @ vectors.T))
    skew = float(np.linalg.norm(vectors.T @ vectors - np.eye(users)))
    rounding: float = 4 * float(np.finfo(np.float64).eps) * users * users * (users + size) * terms
    top = values[-clusters:] + skew * np.abs(values[-clusters:]) + away + rounding
    off = np.sort(np.where(np.eye(users, dtype=bool), np.inf, rows), axis=1)[:, ::-1]
    off[:, 0] = np.diag(rows)
    means = (np.cumsum(off, axis=1) / np.arange(1, users + 1)).max(axis=1)
    return float(np.maximum(top, 0.0).sum()) + float(np.maximum(means, 0.0).sum()) + rounding


def _by_sets(terms: _Terms, price: FloatArray) -> FloatArray:
    """The same as `_by_similarity`, from every set of users and its own similarities."""
    users = terms.instance.users
    if users > MOST_SETS:
        raise InputError(f"certificate: sets: {users} users have too many, at most {MOST_SETS} can be tried")
    most = np.full((terms.quality.shape[1], users + 1, users + 1), -np.inf)
    for mask in range(1, 1 << users):
        own = np.flatnonzero(mask >> np.arange(users) & 1)
        total = np.full(len(most), -np.inf)
        for similarity in _similarities(terms.instance, own):
            value = np.maximum.accumulate(terms.worth(similarity) - terms.lost(own), axis=1)
            total = np.maximum(total, value.sum(axis=0) - price[own].sum())
        dear = -np.sort(-terms.served[own])
        left = np.concatenate([[0.0], np.cumsum(dear)]) - dear.sum()
        kept = most[:, len(own), : len(own) + 1]
        np.maximum(kept, total[:, None] + left, out=kept)
    return most


def _similarities(instance: Instance, own: IntArray) -> Iterator[FloatArray]:
    """phi of a cluster's members, (members,); more than one where rounding leaves it open."""
    vectors, rule = instance.vectors[own], instance.public_prompt
    total, count = vectors.sum(axis=0), len(own)
    length, to_sum = float(np.linalg.norm(total)), vectors @ total
    if rule.rule == "affine":
        yield rule.slope * to_sum / count + rule.intercept
    elif rule.rule == "medoid":
        for medoid in np.flatnonzero(to_sum >= to_sum.max() - 2e-9):
            yield vectors @ vectors[medoid]
    else:
        if length < 2e-6 * count:
            yield np.zeros(count)
        if length > 0.5e-6 * count:
            yield np.clip(to_sum / length, -1.0, 1.0)


@dataclass(frozen=True)
class _Kinds:
    """Clusters that can be: size, gain and load, each (K,)."""

    members: IntArray
    gain: FloatArray
    load: FloatArray


def _undominated(members: IntArray, gain: FloatArray, load: FloatArray) -> _Kinds:
    """Leave out what another of its size beats in gain with no more load."""
    order = np.lexsort((-gain, load, members))
    members, gain, load = members[order], gain[order], load[order]
    keep = np.zeros(len(order), dtype=bool)
    for size in np.unique(members):
        mine = np.flatnonzero(members == size)
        before = np.concatenate([[-np.inf], np.maximum.accumulate(gain[mine])[:-1]])
        keep[mine] = gain[mine] > before
    return _Kinds(members[keep], gain[keep], load[keep])


def _best(kinds: _Kinds, instance: Instance, constant: float, claim: float) -> float:
    """Step 6: the claim, or the most that any clusters are worth. Totals whose square leaves less than it go."""
    users, clusters, budget = instance.users, instance.max_clusters, instance.sm_budget
    free = constant + float(_sums(kinds.members, np.zeros_like(kinds.members), kinds.gain, users, clusters, 1)[0])
    if free == -np.inf:
        raise InputError("certificate: no partition meets the instance's limits on cluster sizes")
    if free <= claim:
        return claim
    width = np.sqrt(budget * (free - claim)) * (1 + 1e-9) / _BUCKETS
    bucket = np.minimum(np.floor(kinds.load / width), _BUCKETS).astype(np.int64)
    here = bucket < _BUCKETS
    members, bucket, gain, rest = (
        kinds.members[here], bucket[here], kinds.gain[here], (kinds.load - width * bucket)[here],
    )  # fmt: skip
    totals, theta = width * np.arange(_BUCKETS), 0.0
    worth = np.full(_BUCKETS, np.inf)
    for _ in range(_PASSES):
        total = _sums(members, bucket, gain - 2 * theta / budget * rest, users, clusters, _BUCKETS)
        slack = 2 * np.maximum(theta - totals, 0.0) * clusters * width - totals**2
        worth = np.minimum(worth, total + slack / budget)
        best = constant + float(worth.max())
        if best <= claim:
            return claim
        theta = float(totals[worth.argmax()])
    return best


def _sums(members: IntArray, bucket: IntArray, gain: FloatArray, users: int, clusters: int, columns: int) -> FloatArray:
    """The largest sum of gains of M entries whose sizes add up to N, by the sum of their buckets, (columns,)."""
    table = np.full((users + 1, columns), -np.inf)
    np.maximum.at(table, (members, bucket), gain)
    entries = list(zip(*(part.tolist() for part in np.nonzero(table > -np.inf)), strict=True))
    total = table
    for left in range(clusters - 2, -1, -1):
        longer = np.full(table.shape, -np.inf)
        for k, b in entries:
            first = 0 if left else users - k  # in the end all users are in some cluster
            part = total[first : users + 1 - k, : columns - b] + table[k, b]
            np.maximum(longer[first + k :, b:], part, out=longer[first + k :, b:])
        total = longer
    return np.asarray(total[users])
