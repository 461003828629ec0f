"""Error messages for misspelled names, missing folders and unquoted wildcards; tables on narrow terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from commands import ENTRY, Here

pytestmark = pytest.mark.full

MISSPELT = {
    "rank photos --by leap": "leep",
    "rank photos -s logmee": "logme",
    "validate photos -m made,twin.onnx -s leep-loo": "leep_loo",
    "score --labels labels.npy --probs probs.npy -s leep_lo": "leep_loo",
    "rank photos --device cudo": "cuda",
    "rank photos --device GPU": None,
    "embed photos --probe made -o x.npz --estimator sings": "signs",
    "embed photos --probe mode -o x.npz": "made",
    "explain photos -m mode": "made",
    "rank photos -m mode": "made",
    "rank photos -m mobilnet_v2": "mobilenet_v2",
    "rank photos -m zzz": None,
    "distance a.npz b.npz --kind symetric": "symmetric",
    "check ranking.json photos --fail-on scores": "score",
    "export onnx:plain.onnx --preprocess imagnet -o out": "imagenet",
    "export onnx:plain.onnx --preprocess imagenet --interpolation bilinar -o out": "bilinear",
    "export onnx:plain.onnx --preprocess imagenet --resize-mode streched -o out": "stretch",
    "export onnx:plain.onnx --preprocess imagenet --channel-order RGB -o out": "rgb",
    "export onnx:plain.onnx --preprocess imagenet --precision fp61 -o out": "fp16",
    "export mobilnet_v2": "mobilenet_v2",
    "export onyx:plain.onnx --preprocess imagenet": "onnx:plain.onnx",
    "zoo pull mobilnet_v2": "mobilenet_v2",
}


@pytest.mark.parametrize("words", MISSPELT)
def test_fault_20_did_you_mean(words: str, furnished: Here) -> None:
    done = furnished.call(*words.split())
    assert done.code in (2, 3), done
    meant = MISSPELT[words]
    assert ("did you mean" in done.error) == (meant is not None), done
    if meant is not None:
        assert f"{meant}?" in done.error, done
    for part in words.split():  # do not suggest downloading a misspelled model
        assert part == "mobilenet_v2" or f"pull {part}" not in done.error


def test_fault_20_a_long_list_of_models_is_cut(furnished: Here, home: Path) -> None:
    for i in range(60):
        shutil.copy(home / "models" / "made.onnx", home / "models" / f"m{i}.onnx")
    done = furnished.call("rank", "photos", "-m", "zzz")
    done.check(2, "and 41 more")
    furnished.call("rank", "photos", "-m", "mobilenet_v2").check(2, "to add it: leepfrog zoo pull mobilenet_v2")


def test_fault_20_an_absent_folder_and_absent_models_are_both_said(here: Here, home: Path) -> None:
    for words in ("rank nothere", "validate nothere", "explain nothere -m made"):
        done = here.call(*words.split())
        assert done.code == 3, done
        assert "nothere: no such folder or file" in done.error
        assert "; also, no " in done.error
    here.call("embed", "nothere", "--probe", "made", "-o", "x.npz").check(3, "nothere: no such folder or file")


def on_a_terminal(columns: int, words: list[str], folder: Path) -> list[str]:
    """Run a command on a terminal of the given width and return the lines shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    settings["NO_COLOR"] = "1"
    done = subprocess.Popen([*ENTRY, *words], stdout=theirs, stderr=subprocess.DEVNULL, cwd=folder, env=settings)
    os.close(theirs)
    shown = b""
    try:
        while read := os.read(ours, 4096):
            shown += read
    except OSError:  # Linux raises EIO once the other end is closed
        pass
    os.close(ours)
    assert done.wait(60) == 0
    return shown.decode().replace("\r\n", "\n").splitlines()


TABLES = ("rank photos", "bench --seconds 0.01", "validate photos -m made,twin.onnx --splits 1", "zoo list",
          "explain photos -m made", "library list tasks", "distance a.npz b.npz", "experts a.npz -l tasks",
          "score --labels labels.npy --probs probs.npy --features features.npy")  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("words", TABLES)
def test_fault_20_tables_fit_the_terminal(words: str, furnished: Here) -> None:
    wide = on_a_terminal(400, words.split(), furnished.folder)
    assert not [line for line in wide if "omitted to fit" in line]
    narrow = on_a_terminal(80, words.split(), furnished.folder)
    before, after = ([line for line in lines if line and not line.strip("- ")] for lines in (wide, narrow))
    assert len(before) == len(after) > 0
    assert max(map(len, after)) <= 80, narrow
    omitted = [line for line in narrow if line.startswith("(omitted to fit: ")]
    assert bool(omitted) == (max(map(len, before)) > 80)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_fault_20_a_table_that_is_no_terminal_s_is_whole(furnished: Here) -> None:
    narrow = on_a_terminal(60, ["rank", "photos", "-o", "r.txt"], furnished.folder)
    assert narrow == []
    piped = furnished.call("rank", "photos").out
    for text in (piped, (furnished.folder / "r.txt").read_text()):
        header = next(line for line in text.splitlines() if line.startswith("rank"))
        for column in ("accuracy %", "90 % interval", "LOO-LEEP", "p95", "memory MB", "front"):
            assert column in header
    shown = on_a_terminal(80, ["rank", "photos"], furnished.folder)
    header = next(line for line in shown if line.startswith("rank"))
    omitted = " ".join(shown).partition("(omitted to fit: ")[2]
    assert "made" in shown[shown.index(header) + 2]
    assert {"p95", "memory MB"} <= set(omitted.partition(";")[0].split(", "))
    assert "accuracy %" in header


def test_fault_46_a_wildcard_that_the_shell_expanded(furnished: Here) -> None:
    (furnished.folder / "other.onnx").write_bytes((furnished.folder / "twin.onnx").read_bytes())
    line = f"{sys.executable} -m leepfrog rank photos -m *n*.onnx"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=furnished.folder)
    assert done.returncode == 2
    assert "unexpected extra argument" in done.stderr
    assert "quote wildcards" in done.stderr
    other = furnished.call("rank", "photos", "nothing-of-that-name")
    assert other.code == 2
    assert "unexpected extra argument" in other.err
    assert "wildcard" not in other.err


def test_fault_20_what_is_not_a_source_or_a_model_is_said_plainly(furnished: Here) -> None:
    (furnished.folder / "model.txt").write_text("text")
    furnished.call("rank", "photos", "-m", "model.txt").check(2, "model.txt is not an .onnx file")
    furnished.call("export", "onnx:").check(2, "source 'onnx:' has nothing after the colon")
    furnished.call("export", "nosuchmodel").check(2, "source 'nosuchmodel' is unknown; ")
