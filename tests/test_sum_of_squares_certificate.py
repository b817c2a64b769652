"""Certificates of sums of squares: made by the search, checked in exact arithmetic, refused where anything is changed."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from hisopt.errors import InputError
from hisopt.solvers.clustering.sum_of_squares.certify import certify
from hisopt.sum_of_squares_certificate import positive_definite, proven_lower_bound


def through_json(certificate):
    return json.loads(json.dumps(certificate, allow_nan=False))


@pytest.mark.parametrize(("size", "clusters", "pairs"), [
    (14, 3, {}), (14, 1, {}), (4, 4, {}), (10, 2, {"must_link": [(0, 1)], "cannot_link": [(2, 3), (0, 5)]}),
])  # fmt: skip
def test_a_certificate_proves_the_optimum(size, clusters, pairs):
    points = np.random.default_rng(size).normal(size=(size, 2)) + 5
    found = through_json(certify(points, clusters, **pairs))
    proven = float(proven_lower_bound(found, points.tolist(), **pairs))
    assert proven == pytest.approx(found["squares"], rel=2e-6, abs=1e-12)
    assert proven <= found["squares"]


def leaves(tree):
    if "leaf" in tree:
        yield tree["leaf"]
    for side in ("apart", "together"):
        if side in tree:
            yield from leaves(tree[side])


def test_a_branching_certificate_with_duplicates_holds_and_lies_do_not():
    rng = np.random.default_rng(3)
    points = rng.integers(0, 5, (12, 2)).astype(float)
    found = through_json(certify(points, 3, tolerance=1e-6))
    assert float(proven_lower_bound(found, points.tolist())) == pytest.approx(found["squares"], rel=2e-6)
    lies = [copy.deepcopy(found) for _ in range(4)]
    lies[0]["lower"] = found["squares"] * (1 + 1e-3)
    leaf = next(leaves(lies[1]["tree"]))
    leaf["trace"] -= 1.0
    leaf = next(leaves(lies[2]["tree"]))
    leaf["entries"][0][1] = leaf["entries"][1][0] = -1e-3
    lies[3]["groups"][next(i for i, g in enumerate(found["groups"]) if g)] = 0
    for lie in lies:
        with pytest.raises(InputError, match="certificate"):
            proven_lower_bound(lie, points.tolist())
    with pytest.raises(InputError, match="certificate"):
        proven_lower_bound(found, (points * 0.9).tolist())


def test_positive_definite_is_exact():
    from fractions import Fraction

    matrix = [[Fraction(1), Fraction(1)], [Fraction(1), Fraction(1) + Fraction(1, 2**200)]]
    assert positive_definite(matrix)
    matrix[1][1] = Fraction(1)
    assert not positive_definite(matrix)
