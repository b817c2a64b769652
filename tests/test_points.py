"""Points from files, what is said where they are none, and the problems that the command line poses on them."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from hisopt import Clustering, Decision, InputError, Sizes, SumOfSquares
from hisopt.commands.request import settings, tasks
from hisopt.commands.solve_options import SolveOptions
from hisopt.points import read_constraints, read_points, standardised

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])


@pytest.mark.parametrize("suffix", ["csv", "header.csv", "tsv", "npy", "parquet"])
def test_every_format_gives_the_same_points(tmp_path, suffix):
    path = tmp_path / f"points.{suffix}"
    frame = pd.DataFrame(CORNERS, columns=["x", "y"])
    if suffix == "npy":
        np.save(path, CORNERS)
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, header=suffix == "header.csv", sep="\t" if suffix == "tsv" else ",")
    points, names = read_points(path)
    np.testing.assert_array_equal(points, CORNERS)
    assert len(names) == 2
    one, _ = read_points(path, [names[1]])
    np.testing.assert_array_equal(one, CORNERS[:, 1:])


@pytest.mark.parametrize(("text", "reason"), [
    ("", "is empty"),
    ("x,y\n", "holds no row"),
    ("x,y\n1,2\n3,cat\n", "column 'y': 'cat' in line 3 is not a number"),
    ("x,kind\n1,cat\n3,dog\n", "column 'kind': 'cat' in line 2 is text; leave the column out, with --columns"),
    ("x,y\n1,2\n3,\n", "column 'y': line 3 is missing"),
    ("1,2\n3,?\n", "column '1': line 2 is missing"),
    ("x,y\n1,inf\n", "must be finite"),
    ("1,2\n3,4,5\n", "Expected 2 fields in line 2, saw 3"),
    ("# two features\n1,2\n3,4\n", "line 1 has 1 cells ('# two features'), and other lines have more"),
    ("x;y\n1,5;2\n", "column 'x': '1,5' in line 2 has a decimal comma"),
    ("x y\n1 2\n", "columns are separated by commas, semicolons or tabs"),
])  # fmt: skip
def test_what_is_no_point_is_named(tmp_path, text, reason):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(reason)) as raised:
        read_points(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_standardised_features_have_variance_one_and_constants_are_told():
    points = np.column_stack([CORNERS * [1e9, 1e-9] + 1e12, np.full(4, 7.0)])
    scaled, notes = standardised(points, ["a", "b", "c"])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:, 0].std(), 1)
    assert not scaled[:, 2].any()
    assert notes == ["constant, so left at 0: c"] or notes == ["constant, so left at 0: b, c"]  # 1e-9 beside 1e12


@pytest.mark.parametrize(("name", "text", "reason"), [
    ("c.json", '{"must_link": [[0, 9]]}', "must_link, pair 0: .0, 9., row numbers go from 0 to 3"),
    ("c.json", '{"must": []}', "must be an object with some of must_link"),
    ("c.json", '{"must_link": [[0, 1, 2]]}', "must be two row numbers"),
    ("c.json", '{"size_min": 0}', "size_min: is 0"),
    ("c.json", '{"size_min": 3, "size_max": 2}', "most 2 is below least 3"),
    ("c.json", "{", "line 1: not JSON"),
    ("c.csv", "i,j,kind\n0,1,maybe\n", "line 2: '0,1,maybe', must be two row numbers and"),
])  # fmt: skip
def test_bad_constraints_are_named(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_constraints(path, 4)


def test_constraints_read_the_same_from_both_formats(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"must_link": [[0, 1]], "cannot_link": [[1, 2]]}))
    (tmp_path / "c.csv").write_text("0,1,must-link\n1,2,cannot-link\n")
    found = read_constraints(tmp_path / "c.json", 4)
    assert found == read_constraints(tmp_path / "c.csv", 4)
    assert found.must_link == ((0, 1),)


@pytest.fixture
def asked(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, CORNERS)

    def ask(**options):
        return settings(SolveOptions(**{"instance": str(path), "clusters": 2} | options))[0]

    return ask


def test_points_pose_the_sum_of_squares_and_other_criteria_on_request(asked):
    setting = asked()
    assert [p.label for p in setting.problems] == ["clustering, sse"]
    names = {solver.name for _, solver in tasks(setting.problems, (), None)}
    assert {"sse-branch-bound", "hg-means", "kmeans", "ward", "groups"} <= names
    assert "branch-bound" not in names
    others = asked(criteria=("mean", "centroid"))
    assert [type(p) for p in others.problems] == [Clustering, Clustering]
    assert asked().place["hash"] == setting.place["hash"] != asked(standardise=True).place["hash"]


@pytest.mark.parametrize(("options", "reason"), [
    ({"clusters": None}, "--clusters: missing"),
    ({"clusters": 5}, "must be 1 to 4"),
    ({"kinds": ("joint",)}, "problem joint: not defined for points"),
    ({"prompts": "x"}, "--prompts: means nothing to points"),
    ({"save_instance": "x.json"}, "--save-instance: means nothing to points"),
    ({"columns": "z"}, "has no 'z'"),
    ({"instance": "absent.csv"}, "absent.csv: No such file"),
    ({"seeds": (-1,)}, "--seed: is -1"),
])  # fmt: skip
def test_what_points_cannot_be_asked(asked, options, reason):
    with pytest.raises(InputError, match=reason):
        asked(**options)


def test_a_column_that_counts_the_rows_is_told(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("id,x\n1,5\n2,6\n3,9\n")
    setting = settings(SolveOptions(instance=str(path), clusters=2))[0]
    assert any("column 'id' counts the rows" in note for note in setting.notes)


def test_solvers_that_do_not_begin_on_many_points_say_so(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, np.arange(301_000.0).reshape(-1, 1) % 977)
    setting = settings(SolveOptions(instance=str(path), clusters=2, criteria=("sse", "mean")))[0]
    told = " ".join(setting.notes)
    for name, most in (("sse-branch-bound", "3,000"), ("ward", "20,000"), ("groups", "300,000"), ("sdp", "5,000")):
        assert f"left out: {name} takes N up to {most}, and N is 301,000" in told
    left = {solver.name for problem, solver in tasks(setting.problems, (), None) if problem.criterion == "sse"}
    assert left == {"kmeans", "hg-means"}
    with pytest.raises(InputError, match="--solver: ward takes N up to 20,000, and N is 301,000"):
        tasks(setting.problems, ("ward",), None)


def test_options_of_points_need_points():
    with pytest.raises(InputError, match="--standardise: is for points"):
        settings(SolveOptions(standardise=True))


def test_the_sum_of_squares_is_that_of_the_formula_and_names_violations():
    problem = SumOfSquares(CORNERS, 2, Sizes(2), np.array([[0, 1]]), np.array([[2, 3]]))
    found = problem.evaluate(Decision(clusters=np.array([0, 0, 1, 1])))
    assert found.objective == pytest.approx(1.0)
    assert found.violations == ("cannot_link: points 2 and 3",)
    lonely = problem.evaluate(Decision(clusters=np.array([0, 1, 1, 1])))
    assert lonely.violations == (
        "clusters: one has 1 users, at least 2 allowed", "must_link: points 0 and 1", "cannot_link: points 2 and 3",
    )  # fmt: skip
    far = SumOfSquares(CORNERS + 1e9, 2).evaluate(Decision(clusters=np.array([0, 0, 1, 1])))
    assert far.objective == pytest.approx(1.0)


def test_a_million_points_need_no_matrix_of_pairs():
    from hisopt.solvers.clustering.sum_of_squares.items import items_of

    items = items_of(np.arange(1e6).reshape(-1, 1), 3)
    assert items.plain
    assert items.allowed(np.repeat([0, 1, 2], [1, 1, 999_998]))
