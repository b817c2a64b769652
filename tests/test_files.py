"""Where results go: files, links, devices, pipes, and what happens where they cannot."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hisopt import files
from hisopt.errors import InputError

LIST = [sys.executable, "-m", "hisopt.solve", "--list"]


def test_a_device_is_written_through_and_stays_a_device(tmp_path: Path) -> None:
    files.require_writable("--output", "/dev/null")
    files.write_atomically("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(InputError, match=r"^/dev/full: No space left on device$"):
        files.write_atomically("/dev/full", "text")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    files.require_writable("--output", pipe)
    files.write_atomically(pipe, "through")
    reader.join(30)
    assert found == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_target_of_a_link_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("target")
    files.write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling"
    dangling.symlink_to("made")
    files.write_atomically(dangling, "made")
    assert (tmp_path / "made").read_text() == "made"
    nowhere = tmp_path / "nowhere"
    nowhere.symlink_to("missing/file")
    with pytest.raises(InputError, match="its folder does not exist"):
        files.require_writable("--output", nowhere)


def test_an_open_descriptor_is_appended_to(tmp_path: Path) -> None:
    """As after ``program --output /dev/stdout >> log``."""
    program = "from hisopt.files import write_atomically; write_atomically('/dev/stdout', 'second')"
    with open(tmp_path / "log", "w") as log:
        log.write("first ")
        log.flush()
        subprocess.run([sys.executable, "-c", program], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "first second"


def test_results_that_cannot_be_written_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match="No space left on device; the results are in ") as caught:
        files.deliver("results\n", "/dev/full", ".csv")
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert kept.parent == tmp_path
    assert kept.suffix == ".csv"
    assert kept.read_text() == "results\n"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="nor could the results be kept"):
        files.deliver("results\n", "/dev/full", ".csv")


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "is closed")], ids=["full", "closed"]
)
def test_standard_output_that_takes_nothing_is_one_line(redirection: str, reason: str, tmp_path: Path) -> None:
    command = f'"$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *LIST], capture_output=True, text=True, check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(rf"hisopt\.solve: standard output: {reason}; the results are in \S+\n", done.stderr)
    (kept,) = tmp_path.iterdir()
    assert "exact-integer" in kept.read_text()


SCORES = "common_steps,clip_score,similarity\n" + "".join(
    f"{x},{0.1 + 0.2 / (1 + 2.718281828 ** (0.3 * (x - 15))) * (1 - s) + 0.001 * (x % 3)},{s}\n"
    for s in (0.2, 0.3)
    for x in range(31)
)


@pytest.mark.parametrize(
    ("arguments", "target", "suffix"),
    [
        (["scores.csv", "--modules", "with"], "standard output", ".txt"),
        (["scores.csv", "--modules", "with", "--output", "/dev/full"], "/dev/full", ".json"),
    ],
    ids=["standard output", "file"],
)
def test_a_fit_that_cannot_be_written_is_kept(arguments: list[str], target: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(SCORES)
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["sh", "-c", '"$@" > /dev/full', "sh", sys.executable, "-m", "hisopt.fit", *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )  # fmt: skip
    assert done.returncode == 2
    (kept,) = (tmp_path / "tmp").glob(f"hisopt-results-*{suffix}")
    assert done.stderr == f"hisopt.fit: {target}: No space left on device; the results are in {kept}\n"
    assert "0.3" in kept.read_text()


@pytest.mark.parametrize("program", ["train", "compare"])
def test_what_a_full_disk_does_not_take_is_one_line(program: str) -> None:
    command = ["sh", "-c", '"$@" > /dev/full', "sh", sys.executable, "-m", f"hisopt.{program}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"hisopt.{program}: standard output: No space left on device\n"


def test_closed_standard_error_does_not_end_up_in_the_results() -> None:
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *LIST], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("problem ")


def test_characters_that_the_output_lacks_are_escaped() -> None:
    program = "from hisopt.files import deliver; deliver('caf\\xe9 \\u2500\\n', None, '.txt')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert done.stdout == b"caf\\xe9 \\u2500\n"
