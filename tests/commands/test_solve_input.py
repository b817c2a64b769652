"""What `hisopt.solve` is asked, read right or refused in one line; in this process, without solving where it can."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hisopt import PRESETS
from hisopt.commands import solve as program
from hisopt.commands.request import settings
from hisopt.commands.solve_options import SolveOptions
from hisopt.instances.files import load

UNIT = np.eye(5, 8)


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def solve(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["hisopt.solve", *arguments])
        code: Any = 0
        try:
            program.main()
        except SystemExit as end:
            code = end.code
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def solve_here(solve: Any, solved_here: None) -> Any:
    return solve


def files(folder: Path) -> None:
    np.save(folder / "unit.npy", UNIT)
    np.save(folder / "long.npy", 3 * UNIT)
    np.savetxt(folder / "digits.csv", np.full((5, 3), 0.5774), fmt="%.4f", delimiter=",")
    (folder / "three.txt").write_text("a\nb\nc\n")
    (folder / "commas.csv").write_text("prompt,subject\na boat, at sea,x\n")
    (folder / "binary.txt").write_bytes(b"\x00\x01")
    example = json.loads((Path(program.__file__).parents[1] / "data" / "example.json").read_text())
    (folder / "ok.json").write_text(json.dumps(example))
    (folder / "bad.json").write_text(json.dumps(example | {"users": 0, "foo": 1}))
    (folder / "old.json").write_text(json.dumps(example | {"schema_version": True}))
    (folder / "solver.py").write_text("import nowhere\n")
    (folder / "syntax.py").write_text("x = (\n")
    (folder / "link").symlink_to("missing/file")
    (folder / "folder").mkdir()


BAD = [
    (["--embeddings", "long.npy"], "long.npy: row 0 has norm 3, must be 1: --normalise scales every row"),
    (["--embeddings", "digits.csv"], "(rounded to a few digits?): --normalise"),
    (["--embeddings", "none.npy"], "none.npy: No such file"),
    (["--embeddings", "three.txt"], "three.txt: line 2: 'b' is not a number"),
    (["--embeddings", "unit.npy", "--users", "6"], "exceeds the 5 prompts"),
    (["--embeddings", "unit.npy", "--preset", "large"], "--embeddings: the preset 'large' draws no prompts"),
    (["--embeddings", "unit.npy", "--prompts", "three.txt"], "three.txt: 3 prompts for 5 rows of embeddings"),
    (["ok.json", "--embeddings", "unit.npy"], "--embeddings: unit.npy: 5 rows for 4 users"),
    (["--normalise"], "--normalise: needs --embeddings or an INSTANCE"),
    (["--prompts", "commas.csv"], "commas.csv: line 2: 3 values for 2 columns"),
    (["--prompts", "binary.txt"], "null characters"),
    (["--prompts", "ok.json"], "ok.json: is JSON"),
    (["ok.json", "--prompts", "three.txt"], "--prompts: samples an instance, but ok.json is given"),
    (["bad.json"], "bad.json: users: input should be greater than or equal to 1, is 0; foo: unknown field"),
    (["old.json"], "schema_version: is True"),
    (["folder"], "folder: Is a directory"),
    (["--seed", "1", "--seed", "-2"], "--seed: is -2, must be >= 0"),
    (["--seed", "1", "--seed", "2", "--save-instance", "x.json"], "--save-instance: is for one instance"),
    (["--seed", "1", "--seed", "2", "--export", "x.lp"], "--export: is for one instance"),
    (["--output", "folder"], "--output: folder: is a folder"),
    (["--output", ""], "--output: : is a folder"),
    (["--output", "link"], "its folder does not exist"),
    (["--output", "ok.json/x"], "its folder does not exist"),
    (["--output", "x" * 300], "File name too long"),
    (["--solver", "solver.py:X"], "solver.py fails to import: ModuleNotFoundError: No module named 'nowhere'"),
    (["--solver", "syntax.py:X"], "syntax.py fails to import: SyntaxError: '(' was never closed (syntax.py, line 1)"),
    (["--solver", "exact", "--policy", "none.safetensors"], "none.safetensors"),
    (["--profile", "none.json"], "none.json: No such file"),
    (["--users", "-3"], "--users: is -3, must be >= 1"),
    (["--preset", "icc", "--profile", "none.json"], "the ICC model counts CPU cycles"),
    (["--problem", "full", "--sms", "real", "--export", "missing/x.lp"], "its folder does not exist"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, solve: Any, tmp_path: Path) -> None:
    files(tmp_path)
    before = {file.name for file in tmp_path.iterdir()}
    done = solve(*arguments)
    assert message in done.stderr
    assert done.code == 2
    assert done.stderr.startswith("hisopt.solve: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert {file.name for file in tmp_path.iterdir()} - {"__pycache__"} == before


def test_more_users_get_more_sms() -> None:
    """As in training and the experiments: V scales with N, so that a user's share stays."""
    (found,) = settings(SolveOptions(preset="paper", users=100, kinds=("clustering",)))
    assert found.instance == PRESETS["paper"].with_users(100).sample(0)
    assert 2052 <= found.instance.edge.sms <= 3348


def test_all_of_ones_own_prompts_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hisopt.text.corpus.embed", lambda prompts: np.eye(len(prompts)))
    lines = [f"prompt {n}" for n in range(37)]
    (tmp_path / "mine.txt").write_text("\n".join(lines))
    (found,) = settings(SolveOptions(prompts=str(tmp_path / "mine.txt")))
    assert found.instance.prompts == tuple(lines)
    (found,) = settings(SolveOptions(prompts=str(tmp_path / "mine.txt"), users=5))
    assert found.instance.users == 5


def test_embeddings_alone_make_users_without_prompts(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", 3 * UNIT)
    (found,) = settings(SolveOptions(embeddings=str(tmp_path / "long.npy"), normalise=True))
    assert found.instance.prompts is None
    assert found.instance.embeddings is not None
    np.testing.assert_allclose(found.instance.embeddings, UNIT)


def test_prompts_without_embeddings_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hisopt.errors import InputError

    files(tmp_path)
    document = json.loads((tmp_path / "ok.json").read_text())
    del document["embeddings"]
    (tmp_path / "words.json").write_text(json.dumps(document))
    monkeypatch.setattr("hisopt.text.corpus.embed", lambda prompts: np.eye(len(prompts)))
    (found,) = settings(SolveOptions(instance=str(tmp_path / "words.json")))
    np.testing.assert_array_equal(found.instance.embeddings, np.eye(4))  # type: ignore[arg-type]
    assert any("embedded with all-MiniLM-L6-v2" in note for note in found.notes)

    def missing(prompts: Any) -> None:
        raise InputError("embedding your own prompts needs sentence-transformers")

    monkeypatch.setattr("hisopt.text.corpus.embed", missing)
    with pytest.raises(InputError, match="sentence-transformers"):
        settings(SolveOptions(instance=str(tmp_path / "words.json"), kinds=("clustering",)))


def test_two_seeds_are_two_instances(solve_here: Any) -> None:
    common = ("--problem", "joint", "--sms", "real", "--solver", "no-sharing", "--seed", "1", "--seed", "2")
    rows = list(csv.DictReader(io.StringIO(solve_here(*common, "--format", "csv").stdout)))
    hashes = [PRESETS["small"].sample(seed) for seed in (1, 2)]
    assert [(row["preset"], row["users"], row["max_clusters"], row["seed"]) for row in rows] == [
        ("small", "10", "3", "1"), ("small", "10", "3", "2"),
    ]  # fmt: skip
    assert len({row["hash"] for row in rows}) == 2
    assert len({row["objective"] for row in rows}) == 2
    document = json.loads(solve_here(*common, "--format", "json").stdout)
    assert [about["seed"] for about in document["instances"]] == [1, 2]
    assert [run["seed"] for run in document["runs"]] == [1, 2] == [run["limits"]["seed"] for run in document["runs"]]
    for about, instance in zip(document["instances"], hashes, strict=True):
        assert about["prompts"] == list(instance.prompts or ())


@pytest.mark.parametrize(
    ("name", "begin"),
    [("r.csv", "preset,"), ("r.json", "{"), ("r.tex", "% preset small"), ("r", "preset small: N = 10 users")],
)
def test_the_suffix_chooses_the_format_and_results_are_read_back(
    name: str, begin: str, solve_here: Any, tmp_path: Path
) -> None:
    common = ("--problem", "joint", "--sms", "real", "--solver", "no-sharing")
    assert solve_here(*common, "--output", name).code == 0
    assert (tmp_path / name).read_text().startswith(begin)
    if name.endswith("json"):
        first = json.loads((tmp_path / name).read_text())
        again = json.loads(solve_here(name, *common, "--format", "json").stdout)
        assert again["runs"][0]["objective"] == first["runs"][0]["objective"]
        assert again["runs"][0]["hash"] == first["runs"][0]["hash"] == load(tmp_path / name).content_hash
    assert solve_here(*common, "--output", name, "--format", "csv").code == 0
    assert (tmp_path / name).read_text().startswith("preset,")


def test_the_example_and_the_schema_are_printed(solve_here: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(solve_here("--example").stdout)
    assert load(tmp_path / "mine.json").users == 4
    assert json.loads(solve_here("--schema").stdout)["title"] == "An instance of hisopt"
    assert solve_here("--version").stdout.startswith("hisopt, version ")
