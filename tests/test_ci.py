"""CI runs the commands shown in README and CONTRIBUTING, and fails if they modify the work tree."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = (ROOT / ".ci" / "run").read_text()
COMMANDS = dict(re.findall(r'^(\w+)="(.+)"$', RUN, re.MULTILINE))


def shown(name: str) -> list[str]:
    """Return the commands in the shell blocks of a document, without comments and trailing whitespace."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].rstrip() for block in blocks for line in block.splitlines()]


def test_fault_51_ci_runs_the_commands_that_are_shown() -> None:
    assert COMMANDS.keys() == {"install", "tests", "lint", "demo"}
    assert re.findall(r'^run "(.+)"$', RUN, re.MULTILINE) == ["$install && $tests", "$lint", "$demo"]
    assert "README.md" not in RUN
    whole = f"{COMMANDS['install']} && {COMMANDS['tests']}"
    for name in ("README.md", "CONTRIBUTING.md"):
        assert shown(name).count(whole) == 1, name
    assert COMMANDS["lint"] in shown("CONTRIBUTING.md")
    (first,) = (line for line in shown("README.md") if line.endswith(COMMANDS["demo"]) and line.startswith("python3"))
    assert first == f"{COMMANDS['install'].replace(',dev', '')} && {COMMANDS['demo']}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Git work tree with a modified file, an unmodified one, an untracked one and a rule for an ignored folder."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name, text in {"tracked": "1", "other": "1", ".gitignore": "ignored/\n"}.items():
        (folder / name).write_text(text)
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env=alone())
    (folder / "tracked").write_text("2")
    (folder / "untracked").write_text("2")
    return folder


def alone() -> dict[str, str]:
    """Return the environment without variables set by git hooks."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def unchanged(folder: Path, command: str) -> tuple[int, str]:
    script = [ROOT / ".ci" / "unchanged", "sh", "-c", command]
    done = subprocess.run(["bash", *script], cwd=folder, env=alone(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["true", "mkdir ignored; touch ignored/x", "echo 2 > x; rm x", "echo"])
def test_fault_21_a_tree_as_it_was_passes(command: str, checkout: Path) -> None:
    assert unchanged(checkout, command) == (0, "")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("mkdir '~nobody'; touch '~nobody/x'", "?? ~nobody/x"),
        ("touch tracked-not", "?? tracked-not"),
        ("echo 3 > tracked", "not as it was"),
        ("echo 3 > other", " M other"),
        ("rm other", " D other"),
        ("rm untracked", "< ?? untracked"),
    ],
)
def test_fault_21_what_a_command_leaves_in_the_tree_fails(command: str, word: str, checkout: Path) -> None:
    code, message = unchanged(checkout, command)
    assert code == 1
    assert word in message


def test_fault_21_a_command_that_fails_keeps_its_exit_code(checkout: Path) -> None:
    assert unchanged(checkout, "exit 7") == (7, "")
