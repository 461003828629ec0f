"""Every command and option has a help text, and the documentation mentions every command."""

from __future__ import annotations

from typing import Any

import pytest
from commands import run
from documents import PAGES
from help_text import commands, help_of

COMMANDS = dict(commands())
WIDTH = 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    command: Any = COMMANDS[name]
    assert command.help
    assert command.help[0].isupper()
    unexplained = [option.opts for option in command.params if not (option.help or "").rstrip().endswith((".", ")"))]
    # --mean ends in an example; a full stop could be copied with it.
    assert [names for names in unexplained if names != ["--mean"]] == []


@pytest.mark.full
@pytest.mark.parametrize("name", ["rank", "zoo pull"])
def test_that_is_what_the_commands_say(name: str) -> None:
    start = "from leepfrog.cli.main import main\nimport sys\nsys.argv[0] = 'leepfrog'\nmain()"
    done = run(*name.split(), "--help", code=start, COLUMNS=str(WIDTH), TERMINAL_WIDTH=str(WIDTH))
    assert "".join(done.out.split()) == "".join(help_of(name, COMMANDS[name], WIDTH).split())


def test_the_documentation_names_every_command() -> None:
    prose = "".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if f"leepfrog {name}" not in prose] == []
