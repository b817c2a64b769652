"""Every command hands its options on as one frozen dataclass, which has a field for each and no other."""

from __future__ import annotations

from importlib import import_module

import pytest

COMMANDS = {
    "solve": "solve_options:SolveOptions",
    "compare": "compare:CompareOptions",
    "report": "report:ReportOptions",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bare_call_has_the_defaults_of_the_dataclass(name: str) -> None:
    command = import_module(f"hisopt.commands.{name}")._command
    module, _, cls = COMMANDS[name].partition(":")
    options = getattr(import_module(f"hisopt.commands.{module}"), cls)
    given = command.make_context(name, []).params
    assert given == vars(options())


@pytest.mark.parametrize("name", COMMANDS)
def test_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = import_module(f"hisopt.commands.{name}")._command
    command.main(["--version"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("hisopt, version ")
