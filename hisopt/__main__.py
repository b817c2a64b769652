"""``python -m hisopt``: one command with the others as sub-commands."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

from hisopt import __version__

_COMMANDS = {
    "solve": "solve an instance with every solver that can, and check what each claims",
    "compare": "run solvers over sizes, seeds and settings; resumes where it was stopped",
    "report": "make a page, or tables for a paper, of what compare recorded",
    "check": "evaluate a decision that someone else made, or a solution of an exported model",
    "benchopt": "write a benchmark folder for benchopt",
    "train": "train a policy for the users' steps",
    "profile": "count and measure the work of a denoising step",
    "prompts": "write a public prompt for each cluster and a negative prompt for each user",
    "fit": "fit the quality curve to scores of images",
}


def main() -> None:
    """Run the sub-command that the first argument names; options alone are those of solve."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(_help())
        return
    if first == "--version":
        print(f"hisopt, version {__version__}")
        return
    if first.startswith("-"):
        first, arguments = "solve", ["solve", *arguments]
    if first not in _COMMANDS:
        _fail(f"unknown command {first!r}; known are {', '.join(_COMMANDS)}")
    sys.argv = [f"hisopt {first}", *arguments[1:]]
    try:
        module = import_module(f"hisopt.{first}")
    except ModuleNotFoundError as error:
        _fail(f"this needs {error.name}, which is not installed: pip install hisopt (or 'pip install .' in a checkout)")
    module.main()


def _help() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name.ljust(width)}  {what}" for name, what in _COMMANDS.items()]
    return "\n".join(
        ["Usage: hisopt COMMAND [OPTIONS]", "", "Commands:", *lines, "",
         "hisopt COMMAND --help says more; without a command, options are those of solve. --version prints the version."]
    )  # fmt: skip


def _fail(message: str) -> NoReturn:
    print(f"hisopt: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
