"""Every command hands its options on as one frozen dataclass, which has a field for each and no other."""

from __future__ import annotations

from importlib import import_module

import pytest

COMMANDS = {
    "commands.solve": "commands.solve_options:SolveOptions",
    "commands.compare": "commands.compare:CompareOptions",
    "commands.report": "commands.report:ReportOptions",
    "commands.train": "commands.train:TrainOptions",
    "commands.profile": "commands.profile:ProfileOptions",
    "commands.prompts": "commands.prompts:PromptsOptions",
    "commands.fit": "commands.fit:FitOptions",
    "experiments.campaigns.quality": "experiments.campaigns.quality:QualityOptions",
}
NEEDED = {  # what a call cannot do without: on the command line, and in the dataclass
    "commands.fit": (["scores.csv"], ["scores.csv"]),
    "experiments.campaigns.quality": (["--model", "sd3"], ["sd3"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bare_call_has_the_defaults_of_the_dataclass(name: str) -> None:
    command = import_module(f"hisopt.{name}")._command
    module, _, cls = COMMANDS[name].partition(":")
    options = getattr(import_module(f"hisopt.{module}"), cls)
    line, values = NEEDED.get(name, ([], []))
    assert command.make_context(name, list(line)).params == vars(options(*values))


@pytest.mark.parametrize("name", COMMANDS)
def test_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = import_module(f"hisopt.{name}")._command
    command.main(["--version"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("hisopt, version ")
