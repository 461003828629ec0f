"""Help: every command and option has some, and the README shows it as it is."""

from __future__ import annotations

from typing import Any

import pytest
from commands import run
from help_text import README, WIDTH, commands, help_of, replaced

COMMANDS = dict(commands())
MARKDOWN = README.read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    command: Any = COMMANDS[name]
    assert command.help
    assert command.help[0].isupper()
    unexplained = [option.opts for option in command.params if not (option.help or "").rstrip().endswith((".", ")"))]
    # What ends in an example, "such as 0.5,0.5,0.5", has no full stop that could be typed with it.
    assert [names for names in unexplained if names != ["--mean"]] == []


def test_the_readme_shows_the_help_of_every_command() -> None:
    assert replaced(MARKDOWN) == MARKDOWN, "python tests/help_text.py --write"


@pytest.mark.full
@pytest.mark.parametrize("name", ["rank", "zoo pull"])
def test_that_is_what_the_commands_say(name: str) -> None:
    start = "from leepfrog.cli.main import main\nimport sys\nsys.argv[0] = 'leepfrog'\nmain()"
    done = run(*name.split(), "--help", code=start, COLUMNS=str(WIDTH), TERMINAL_WIDTH=str(WIDTH))
    assert "".join(done.out.split()) == "".join(help_of(name, COMMANDS[name]).split())


def test_the_readme_names_every_command_in_its_text() -> None:
    prose = replaced(MARKDOWN).partition("## All commands")[0]
    assert [name for name in COMMANDS if f"leepfrog {name}" not in prose] == []
