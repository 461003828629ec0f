"""The command line from the user's side: exit codes, stdout, stderr and signals."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from importlib import metadata
from pathlib import Path

import models_made as made
import numpy as np
import onnxruntime
import pytest
from baselines import put
from commands import Here, run
from leepfrog.cli.doctor import examine, onnxruntime_wheels
from leepfrog.cli.root import COMMANDS
from leepfrog.inference.device import available_threads
from leepfrog.inference.model_lookup import find_models
from leepfrog_exporter import zoo
from machine_load import keep_costs
from photos import folder_of_pieces

pytestmark = pytest.mark.full

TWO = "made,twin"

# Run the command line in a process that cannot import training frameworks or the exporter's libraries.
WITHOUT_EXTRAS = """
import sys
for name in ("torch", "torchvision", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None
from leepfrog.cli.main import main
main()
"""


@pytest.fixture
def two(with_made: Path) -> Path:
    """A home directory with two small test models whose costs are stored."""
    put(with_made, "twin", alike=True)
    keep_costs(find_models(()), available_threads())  # doubtful costs are not stored and would differ from run to run
    return with_made


@pytest.mark.parametrize("command", ["", "demo", "rank", "score", "export", "zoo", "zoo list", "zoo pull", "doctor"])
def test_every_command_has_help(home: Path, command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.code == 0
    assert done.err == ""
    assert "Usage: " in done.out
    assert not home.exists()  # --help creates no files


def test_help_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['leepfrog', '--help']\nfrom leepfrog.cli.main import main\ntry: main()\n"
        "except SystemExit: print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = run(code=code).out.splitlines()[-1].split()
    assert "leepfrog" in loaded
    assert not {"numpy", "numba", "onnxruntime", "PIL", "torch", "onnx", "rich"} & set(loaded)


def test_a_command_is_imported_when_it_is_asked_for(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['leepfrog', 'schema']\nfrom leepfrog.cli.main import main\ntry: main()\n"
        "except SystemExit: print(*(name for name in sys.modules if name.startswith('leepfrog.cli.')))"
    )
    loaded = run(code=code).out.splitlines()[-1].split()
    assert "leepfrog.cli.schema" in loaded
    assert not {f"leepfrog.cli.{name}" for name in COMMANDS if name != "schema"} & {*loaded}


def test_a_misspelt_command_is_named(home: Path) -> None:
    done = run("rnk")
    assert (done.code, done.out) == (2, "")
    assert "No such command 'rnk'. Did you mean 'rank'?" in done.err


def test_import_rank_and_score_never_import_torch(two: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=2)
    np.save(tmp_path / "p.npy", np.full((2, 2), 0.5))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    code = "import sys, leepfrog\nfor name in leepfrog.__all__: getattr(leepfrog, name)\nprint('torch' in sys.modules)"
    assert run(code=code).out.strip() == "False"
    ranked = run("rank", folder, "-m", TWO, code=WITHOUT_EXTRAS)
    assert ranked.code == 0, ranked.err
    scored = run("score", "--probs", tmp_path / "p.npy", "--labels", tmp_path / "y.npy", code=WITHOUT_EXTRAS)
    assert scored.code == 0, scored.err
    for command in (["zoo", "list"], ["doctor"]):
        assert run(*command, code=WITHOUT_EXTRAS).code == 0


def test_exporting_without_the_extra_says_what_to_install(home: Path) -> None:
    for command in (["export", "onnx:any.onnx"], ["zoo", "pull"], ["demo", "-q"]):
        run(*command, code=WITHOUT_EXTRAS).check(4, "export extra", "pip install")


def test_rank_in_every_format(two: Path, here: Here, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    table = run("rank", folder, "-m", TWO)
    assert table.code == 0, table.err
    for word in ("12 images of 3 classes", "LOO-LEEP", "made", "twin", "ms/image"):
        assert word in table.out
    result = here.call("rank", folder, "-m", TWO, "--format", "json").json
    assert (result["schema_version"], result["kind"]) == (3, "ranking")
    assert [m["rank"] for m in result["models"]] == [1, 2]
    assert {m["n_inferred"] for m in result["models"]} == {0}
    best = result["models"][0]
    assert best["scores"]["head_accuracy"]["value"] >= result["models"][1]["scores"]["head_accuracy"]["value"]
    assert best["n_source"] == made.CLASSES
    rows = list(csv.DictReader(io.StringIO(here.call("rank", folder, "-m", TWO, "--format", "csv").out)))
    assert [row["model"] for row in rows] == [m["name"] for m in result["models"]]
    assert float(rows[0]["leep_loo"]) == best["scores"]["leep_loo"]["value"]
    more = here.call("rank", folder, "-m", TWO, "--by", "logme", "-s", "ridge,knn").out
    assert "best logme first (LEEP: 0 is perfect" in more
    order = ["rank", "model", "logme", "90 % interval", "P(best)", "head %", "LOO-LEEP", "LEEP", "ridge", "knn"]
    assert re.split(r"  +", more.splitlines()[4])[: len(order)] == order
    assert 0 <= best["probability_best"] <= 1
    low, high = best["scores"]["head_accuracy"]["interval"]
    assert low <= best["scores"]["head_accuracy"]["value"] <= high
    assert ("= tied: " in table.out) == result["models"][1]["tied_with_best"]
    markdown = here.call("rank", folder, "-m", TWO, "--format", "md").out.splitlines()
    rows = [line for line in markdown if line.startswith("|")]
    assert rows[0].startswith("| rank | model |")
    assert len(rows) == 4
    assert ("\\= tied: " in "\n".join(markdown)) == result["models"][1]["tied_with_best"]
    assert any(
        line.startswith(
            "- \\* front: no other model beats these in both expected accuracy of a retrained linear head and latency"
        )
        for line in markdown
    )
    written = tmp_path / "out" / "ranking.json"
    done = here.call("rank", folder, "-m", TWO, "-o", written)
    assert done.out == ""
    assert json.loads(written.read_text())["models"] == result["models"]
    by_leep = here.call("rank", folder, "-m", TWO, "--by", "leep", "--format", "json").json
    assert by_leep["ranked_by"] == "leep"


def test_remarks_go_to_stderr_and_quiet_silences_them(two: Path, here: Here, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=2)
    (folder / "cat" / "bad.jpg").write_text("no picture")
    done = here.call("rank", folder, "-m", "made")
    assert "bad.jpg: not an image in a supported format" in done.err
    assert "bad.jpg" not in done.out
    quiet = here.call("rank", folder, "-m", "made", "-q")
    assert quiet.err == ""
    assert quiet.out == done.out
    here.call("rank", folder, "-m", "made", "--strict").check(3, "bad.jpg", "not an image")


def test_rank_errors(two: Path, here: Here, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    raw = tmp_path / "raw.onnx"
    raw.write_bytes(b"")
    here.call("rank", tmp_path / "nowhere").check(3, "nowhere", "no such folder")
    here.call("rank", tmp_path).check(3, "photos")
    here.call("rank", folder, "-m", "resnet99").check(2, "resnet99", "leepfrog zoo pull")
    here.call("rank", folder, "-m", raw).check(3, "raw.onnx", "0 bytes")
    here.call("rank", folder, "--by", "nothing").check(2, "leep_loo")
    here.call("rank", folder, "-o", tmp_path / "x.xlsx").check(2, ".json")
    assert here.call("rank").code == 2
    assert here.call("rank", folder, "--format", "xml").code == 2
    assert not (tmp_path / "x.xlsx").exists()


def test_rank_without_any_model_says_how_to_get_one(home: Path, here: Here, tmp_path: Path) -> None:
    here.call("rank", folder_of_pieces(tmp_path / "photos", count=1)).check(2, "leepfrog zoo pull")


def test_a_result_that_cannot_be_written_is_an_error(two: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "r.json"
    run("rank", folder, "-q", "-m", "made", "-o", blocked).check(4, "cannot write")


def test_links_and_pipes_as_output(home: Path, tmp_path: Path) -> None:
    arguments = ("zoo", "list", "--format", "json")
    wanted = run(*arguments).out
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "r.json")
    assert run(*arguments, "-o", tmp_path / "link.json").code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real" / "r.json").read_text() == wanted
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    assert run(*arguments, "-o", tmp_path / "pipe").code == 0
    assert reader.communicate(timeout=30)[0] == wanted
    assert (tmp_path / "pipe").is_fifo()


def test_lists_of_models(two: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=1)
    for value in (",", "made,"):
        here.call("rank", "photos", "-m", value).check(2, "empty name in")
    here.call("rank", "photos", "-m", ",".join(f"absent{i}" for i in range(600))).check(2, "absent0")
    here.call("rank", "photos", "-q", "-m", "made, twin").check(0)


def test_ctrl_c(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=200)
    command = [sys.executable, "-m", "leepfrog", "rank", folder]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore SIGINT
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed  # noqa: PLW1509
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((zoo_home / "inference").glob("*/*.npy")) and time.monotonic() < deadline:
        assert running.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out == ""
    assert "leepfrog: error: interrupted; finished work is cached" in err
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error(home: Path) -> None:
    script = f"set -o pipefail; {sys.executable} -m leepfrog zoo list | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_score_of_arrays(home: Path, here: Here, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(7), 40)
    labels = rng.integers(0, 3, 40)
    np.save(tmp_path / "p.npy", probs)
    np.save(tmp_path / "y.npy", labels)
    arguments = ("score", "--probs", tmp_path / "p.npy", "--labels", tmp_path / "y.npy")
    from leepfrog import leep, leep_loo

    result = here.call(*arguments, "--format", "json").json["scores"]
    assert result["leep"]["value"] == leep(probs, labels).value
    assert result["leep_loo"]["value"] == leep_loo(probs, labels).value
    rows = list(csv.DictReader(io.StringIO(here.call(*arguments, "--format", "csv").out)))
    assert float(rows[1]["value"]) == leep(probs, labels).value
    assert "leep_loo" in here.call(*arguments).out


def test_bad_array_files(home: Path, here: Here, tmp_path: Path) -> None:
    good = tmp_path / "y.npy"
    np.save(good, np.array([0, 1]))
    whole = io.BytesIO()
    np.save(whole, np.full((2, 2), 0.5))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}, {}], dtype=object), allow_pickle=True)
    logits = io.BytesIO()
    np.save(logits, np.array([[3.0, -1.0], [0.0, 9.0]]))
    cases = {
        "text": (b"0.5,0.5", "not a .npy file"),
        "empty": (b"", "not a .npy file"),
        "cut": (whole.getvalue()[:-8], "broken"),
        "pickled": (pickled.getvalue(), "pickled"),
        "logits": (logits.getvalue(), "softmax"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.npy"
        path.write_bytes(content)
        here.call("score", "--probs", path, "--labels", good).check(3, message)
    here.call("score", "--probs", tmp_path / "gone.npy", "--labels", good).check(3, "gone.npy", "No such file")


def test_zoo_list(zoo_home: Path, here: Here) -> None:
    shown = here.call("zoo", "list").out
    for name in zoo.load():
        assert name in shown
    models = here.call("zoo", "list", "--format", "json").json["models"]
    assert {m["model"] for m in models if m["exported"]} == {e.name for e in zoo.load().values() if e.is_starter}
    here.call("zoo", "pull", "resnet99").check(2, "no model 'resnet99'")


def test_doctor(home: Path) -> None:
    done = run("doctor")
    assert done.code == 0, done.out
    for word in ("onnxruntime", "providers", "threads", "cache", "no problems found"):
        assert word in done.out
    facts = run("doctor", "--format", "json").json
    assert facts["problems"] == []
    home.parent.joinpath("blocked").write_text("")
    blocked = run("doctor", LEEPFROG_HOME=str(home.parent / "blocked" / "home"))
    assert blocked.code == 4
    assert "cannot be written" in blocked.out


def test_doctor_names_an_onnxruntime_that_does_not_import(home: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('libonnx.so: no such file')\n")
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert done.code == 4
    assert "problem: onnxruntime cannot be imported: libonnx.so: no such file; pip install" in done.out
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    run("rank", folder, PYTHONPATH=str(tmp_path)).check(4, "leepfrog doctor")


def test_doctor_sees_onnxruntime_wheels_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert onnxruntime_wheels() == ["onnxruntime"]
    for name, folder in (("gpu", "onnxruntime"), ("extensions", "onnxruntime_extensions")):
        second = tmp_path / f"onnxruntime_{name}-1.32.0.dist-info"
        second.mkdir()
        (second / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnxruntime-{name}\nVersion: 1.32.0\n")
        (second / "RECORD").write_text(f"{folder}/__init__.py,,\n")
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert done.code == 4
    assert "onnxruntime and onnxruntime-gpu are both installed" in done.out


def test_doctor_takes_another_wheel_for_onnxruntime(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """For example in an environment with onnxruntime-openvino only."""
    (ours,) = metadata.distributions(name="onnxruntime")
    renamed = types.SimpleNamespace(metadata={"Name": "onnxruntime-openvino"}, files=ours.files)
    version = metadata.version
    monkeypatch.setattr(metadata, "distributions", lambda: [renamed])

    def version_of(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return version("onnxruntime") if name == "onnxruntime-openvino" else version(name)

    monkeypatch.setattr(metadata, "version", version_of)
    diagnosis = examine()
    assert diagnosis.facts["onnxruntime"] == onnxruntime.__version__
    assert diagnosis.facts["onnxruntime wheels"] == "onnxruntime-openvino"
    assert not diagnosis.problems


def test_version() -> None:
    import leepfrog

    assert run("--version").out.strip() == leepfrog.__version__


LOST = """
import gc, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
sys.argv = ["leepfrog", "doctor"]
from leepfrog.cli import app, main

class Interrupting:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # gives the handler a chance to run
            pass

def slow(*_):
    Interrupting()
    time.sleep(100)

app.app = slow
main.main()
"""


def test_ctrl_c_in_a_destructor_is_not_lost(home: Path) -> None:
    """By default, Python prints "Exception ignored in" and continues."""
    start = time.monotonic()
    done = run(code=LOST)
    assert time.monotonic() - start < 60
    done.check(130, "interrupted")
    assert "ignored" not in done.err
