"""Terminal output: progress on stderr, layout and colors of results, and plain output with --quiet or in pipes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from commands import run
from help_text import commands
from leepfrog.cli.app import app
from leepfrog.cli.bars import WIDTH, Bars
from photos import folder_of_pieces

pytestmark = pytest.mark.full

BAR = re.compile(rf"\[[#.]{{{WIDTH}}}\]")


def on_a_terminal(*arguments: str | Path, columns: int = 0, **environment: str) -> str:
    """Return the output of a command whose stdout and stderr are a terminal; 0 columns means an unknown width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    settings = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    command = [sys.executable, "-W", "error", "-m", "leepfrog", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings | {"TERM": "xterm-256color"} | environment
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # raised on Linux once the other end is closed
                read = b""
            if not read:
                break
            shown += read
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def screen(written: str) -> list[str]:
    """Return the lines that remain visible after carriage returns have overwritten earlier text."""
    lines = []
    for line in written.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = folder_of_pieces(tmp_path / "photographs", count=20)
    (folder / "cat" / "bad.jpg").write_text("no picture")
    return folder


def test_a_terminal_gets_a_bar_that_goes_when_it_is_done(tiny: Path, photographs: Path) -> None:
    shown = on_a_terminal("rank", photographs)
    bars = BAR.findall(shown)
    assert "[" + "." * WIDTH + "]" in bars
    assert "[" + "#" * WIDTH + "]" in bars
    assert "inference" in shown
    left = screen(shown)
    assert not [line for line in left if BAR.search(line)]
    assert any(line.startswith("skipped: ") and "bad.jpg: not an image" in line for line in left)
    assert any(line.startswith("60 images of 3 classes") for line in left)


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_escape_codes(plain: dict[str, str], tiny: Path, photographs: Path) -> None:
    assert "\x1b" not in on_a_terminal("--help", **plain)
    assert "\x1b" not in on_a_terminal("rank", "--no-such-option", **plain)
    shown = on_a_terminal("rank", photographs, **plain)
    assert "60 images of 3 classes" in shown
    assert "\x1b" not in shown
    assert bool(BAR.search(shown)) == (plain.get("TERM") != "dumb")


def test_colors_emphasize_the_verdict_and_the_best_models(tiny: Path, photographs: Path) -> None:
    lines = on_a_terminal("rank", photographs).split("\n")
    verdict = next(line for line in lines if "expected accuracy" in line)
    assert "\x1b[1mmade: expected accuracy" in verdict
    assert any(line.startswith("\x1b[32m") and " made " in line for line in lines)
    assert not [line for line in lines if line.count("\x1b") % 2]


@pytest.mark.parametrize(("width", "omits"), [(80, True), (120, True), (200, False)])
def test_sentences_and_tables_fit_the_terminal(width: int, omits: bool, tiny: Path, photographs: Path) -> None:
    shown = on_a_terminal("rank", photographs, columns=width, NO_COLOR="1")
    result = [line for line in screen(shown) if not line.startswith(("note: ", "skipped: "))]
    assert max(len(line) for line in result if " " in line) <= width  # a path alone on a line may be longer
    assert ("(omitted to fit: " in shown) == omits
    assert " loss " in shown


def test_wide_shows_all_columns_and_columns_chooses(tiny: Path, photographs: Path) -> None:
    wide = on_a_terminal("rank", photographs, "--wide", columns=60, NO_COLOR="1")
    assert "memory MB" in wide
    assert "omitted" not in wide
    chosen = on_a_terminal("rank", photographs, "--columns", "Model,accuracy,ms/image", columns=30, NO_COLOR="1")
    (header,) = (line for line in screen(chosen) if line.startswith("model"))
    assert header.split("  ") == ["model", "accuracy %", "ms/image"]
    piped = run("rank", photographs, "--columns", "loss,model", "--format", "md")
    assert "| loss | model |" in piped.out
    unknown = run("rank", photographs, "--columns", "model,price")
    assert "--columns: this table has no column price; it has rank, model, accuracy %" in unknown.out
    assert unknown.code == 0


def test_no_bar_where_nobody_looks(tiny: Path, photographs: Path) -> None:
    command = [sys.executable, "-m", "leepfrog", "rank", str(photographs)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"bad.jpg" in done.stderr
    for stream in (done.stdout, done.stderr):
        assert b"\r" not in stream
        assert b"\x1b" not in stream
        assert not BAR.search(stream.decode())
    assert "[" not in on_a_terminal("rank", photographs, "--quiet", "-o", photographs.parent / "r.json")


def test_a_narrow_terminal_gets_a_shorter_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bars() as bars:
        bars.start("inference,\x1b[31m 2 models", 100)
        bars.advance(100)
    shown = capsys.readouterr().err
    assert shown.startswith("\rinference,")
    assert "\x1b" not in shown
    assert max(map(len, shown.split("\r"))) <= 19


# One call per command, in this order: later calls read the files that earlier calls write.
CALLS = {
    "export": "export onnx:{home}/plain.onnx --preprocess imagenet --name other --probe",
    "rank": "rank {photographs} -o {out}/ranking.json --plot {out}/front.svg",
    "check": "check {out}/ranking.json {photographs} --cached -o {out}/check.txt",
    "verify": "verify {out}/ranking.json {photographs} --cached -o {out}/verified.json",
    "schema": "schema -o {out}/schema.json",
    "bench": "bench other --seconds 0.01 -o {out}/bench.csv",
    "explain": "explain {photographs} -m other -o {out}/why.json",
    "validate": "validate {photographs} --splits 1 -s leep,ridge -o {out}/which.json",
    "score": "score --labels {out}/labels.npy --probs {out}/probs.npy -o {out}/scores.json",
    "embed": "embed {photographs} --probe other -o {out}/a.npz",
    "distance": "distance {out}/a.npz {out}/a.npz -o {out}/distance.json",
    "library list": "library list {out}/library -o {out}/library.json",
    "experts": "experts {photographs} --library {out}/library -o {out}/experts.json",
    "map": "map {out}/library -o {out}/map.svg",
    "zoo list": "zoo list -o {out}/zoo.json",
    "zoo search": "zoo search vit -o {out}/found.json",
    "zoo pull": "zoo pull",
    "demo": "demo",
    "doctor": "doctor -o {out}/doctor.json",
}
NEED_THE_STARTERS = ("zoo pull", "demo")


def test_every_command_that_can_be_quiet_is_tried() -> None:
    quiet = [name for name, command in commands() if any("--quiet" in option.opts for option in command.params)]
    assert sorted(quiet) == sorted(CALLS)


def test_every_command_that_writes_a_file_can_be_quiet() -> None:
    """`-o` prints a message with the path of the result, which --quiet suppresses."""
    for name, command in commands():
        options = {text for option in command.params for text in option.opts}
        assert "--output" not in options or "--quiet" in options, name


def call(line: str, **folders: Path) -> None:
    app([part.format(**folders) for part in line.split()], standalone_mode=False)


def test_quiet(tiny: Path, photographs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """stderr stays empty with --quiet; without it, the path of a written result is printed there."""
    out = tmp_path / "out"
    out.mkdir()
    folders = {"photographs": photographs, "out": out, "home": tmp_path}
    made.classifier().save(tmp_path / "plain.onnx")
    np.save(out / "labels.npy", np.arange(9) % 3)
    np.save(out / "probs.npy", np.full((9, 2), 0.5))
    for name, line in CALLS.items():
        if name in NEED_THE_STARTERS:
            continue
        if name == "library list":
            call("embed {photographs} --probe other --name b -o {out}/b.npz -q", **folders)
            call("library add {out}/library {out}/a.npz {out}/b.npz", **folders)
        capfd.readouterr()
        call(f"{line} --quiet", **folders)
        written = capfd.readouterr()
        assert written.err == "", (name, written.err)
        if "-o" in line.split():
            call(line, **folders)
            assert "wrote" in capfd.readouterr().err or name == "embed", name
    assert len(list(out.glob("*.*"))) >= 12


def test_quiet_with_the_starters(zoo_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # The demo uses an existing folder of digits as it is; a few photographs are faster.
    folder_of_pieces(zoo_home / "data" / "mnist-1000", count=4)
    for name in NEED_THE_STARTERS:
        call(f"{CALLS[name]} --quiet")
        written = capfd.readouterr()
        assert written.err == "", (name, written.err)
        assert "mobilenet_v2" in written.out
