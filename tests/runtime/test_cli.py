"""The command line as its users meet it: a real process, its exit code, stdout and stderr."""

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
from pathlib import Path

import numpy as np
import pytest
from busy import keep_costs
from leepfrog.cli.doctor import onnxruntime_wheels
from leepfrog.cli.root import COMMANDS
from leepfrog.inference.device import available_threads
from leepfrog.inference.local import find_models
from leepfrog_exporter import zoo
from photos import folder_of_pieces

FAST = "mobilenet_v2,efficientnet_lite0"

# Run the command line where importing a training framework or the exporter's libraries is impossible.
WITHOUT_EXTRAS = """
import sys
for name in ("torch", "torchvision", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None
from leepfrog.cli.main import main
main()
"""


def run(*arguments: str | Path, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    start = ["-m", "leepfrog"] if code is None else ["-c", code]
    command = [sys.executable, "-W", "error", *start, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environment}
    )


def one_line_error(done: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> None:
    assert done.returncode == exit_code, done
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("leepfrog: error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0], errors[0]


@pytest.mark.parametrize("command", ["", "demo", "rank", "score", "export", "zoo", "zoo list", "zoo pull", "doctor"])
def test_every_command_has_help(home: Path, command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Usage: " in done.stdout
    assert not home.exists()  # asking for help leaves nothing behind


def test_help_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['leepfrog', '--help']\nfrom leepfrog.cli.main import main\ntry: main()\n"
        "except SystemExit: print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = run(code=code).stdout.splitlines()[-1].split()
    assert "leepfrog" in loaded
    assert not {"numpy", "numba", "onnxruntime", "PIL", "torch", "onnx", "rich"} & set(loaded)


def test_a_command_is_imported_when_it_is_asked_for(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['leepfrog', 'schema']\nfrom leepfrog.cli.main import main\ntry: main()\n"
        "except SystemExit: print(*(name for name in sys.modules if name.startswith('leepfrog.cli.')))"
    )
    loaded = run(code=code).stdout.splitlines()[-1].split()
    assert "leepfrog.cli.schema" in loaded
    assert not {f"leepfrog.cli.{name}" for name in COMMANDS if name != "schema"} & {*loaded}


def test_a_misspelt_command_is_named(home: Path) -> None:
    done = run("rnk")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'rnk'. Did you mean 'rank'?" in done.stderr


def test_import_rank_and_score_never_import_torch(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=2)
    np.save(tmp_path / "p.npy", np.full((2, 2), 0.5))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    code = "import sys, leepfrog\nfor name in leepfrog.__all__: getattr(leepfrog, name)\nprint('torch' in sys.modules)"
    assert run(code=code).stdout.strip() == "False"
    ranked = run("rank", folder, "-m", FAST, code=WITHOUT_EXTRAS)
    assert ranked.returncode == 0, ranked.stderr
    scored = run("score", "--probs", tmp_path / "p.npy", "--labels", tmp_path / "y.npy", code=WITHOUT_EXTRAS)
    assert scored.returncode == 0, scored.stderr
    for command in (["zoo", "list"], ["doctor"]):
        assert run(*command, code=WITHOUT_EXTRAS).returncode == 0


def test_exporting_without_the_extra_says_what_to_install(home: Path) -> None:
    for command in (["export", "onnx:any.onnx"], ["zoo", "pull"], ["demo", "-q"]):
        one_line_error(run(*command, code=WITHOUT_EXTRAS), 4, "export extra", "pip install")


def test_rank_in_every_format(zoo_home: Path, tmp_path: Path) -> None:
    keep_costs(find_models(()), available_threads())  # those in doubt are not kept, and so differ from run to run
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    table = run("rank", folder, "-m", FAST)
    assert table.returncode == 0, table.stderr
    for word in ("12 images of 3 classes", "LOO-LEEP", "mobilenet_v2", "efficientnet_lite0", "ms/image"):
        assert word in table.stdout
    result = json.loads(run("rank", folder, "-m", FAST, "--format", "json").stdout)
    assert (result["schema_version"], result["kind"]) == (2, "ranking")
    assert [m["rank"] for m in result["models"]] == [1, 2]
    assert {m["n_inferred"] for m in result["models"]} == {0}
    best = result["models"][0]
    assert best["scores"]["combined"]["value"] >= result["models"][1]["scores"]["combined"]["value"]
    assert best["n_source"] == 1000
    rows = list(csv.DictReader(io.StringIO(run("rank", folder, "-m", FAST, "--format", "csv").stdout)))
    assert [row["model"] for row in rows] == [m["name"] for m in result["models"]]
    assert float(rows[0]["leep_loo"]) == best["scores"]["leep_loo"]["value"]
    more = run("rank", folder, "-m", FAST, "--by", "logme", "-s", "ridge,knn").stdout
    assert "best logme first (LEEP: 0 is perfect" in more
    order = ["rank", "model", "logme", "90 % interval", "P(best)", "head %", "LOO-LEEP", "LEEP", "ridge", "knn"]
    assert re.split(r"  +", more.splitlines()[2])[: len(order)] == order
    assert 0 <= best["probability_best"] <= 1
    low, high = best["scores"]["combined"]["interval"]
    assert low <= best["scores"]["combined"]["value"] <= high
    assert ("= tied: " in table.stdout) == result["models"][1]["tied_with_best"]
    markdown = run("rank", folder, "-m", FAST, "--format", "md").stdout.splitlines()
    assert markdown[0].startswith("| rank | model |")
    assert len(markdown) == 4
    written = tmp_path / "out" / "ranking.json"
    done = run("rank", folder, "-m", FAST, "-o", written)
    assert done.stdout == ""
    assert json.loads(written.read_text())["models"] == result["models"]
    by_leep = json.loads(run("rank", folder, "-m", FAST, "--by", "leep", "--format", "json").stdout)
    assert by_leep["ranked_by"] == "leep"


def test_remarks_go_to_stderr_and_quiet_silences_them(zoo_home: Path, tmp_path: Path) -> None:
    keep_costs(find_models(()), available_threads())
    folder = folder_of_pieces(tmp_path / "photos", count=2)
    (folder / "cat" / "bad.jpg").write_text("no picture")
    done = run("rank", folder, "-m", "mobilenet_v2")
    assert "bad.jpg: not an image that can be read" in done.stderr
    assert "bad.jpg" not in done.stdout
    quiet = run("rank", folder, "-m", "mobilenet_v2", "-q")
    assert quiet.stderr == ""
    assert quiet.stdout == done.stdout
    one_line_error(run("rank", folder, "-m", "mobilenet_v2", "--strict"), 3, "bad.jpg", "not an image")


def test_rank_errors(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    raw = tmp_path / "raw.onnx"
    raw.write_bytes(b"")
    one_line_error(run("rank", tmp_path / "nowhere"), 3, "nowhere", "no such folder")
    one_line_error(run("rank", tmp_path), 3, "photos")
    one_line_error(run("rank", folder, "-m", "resnet99"), 2, "resnet99", "leepfrog zoo pull")
    one_line_error(run("rank", folder, "-m", raw), 3, "raw.onnx", "0 bytes")
    one_line_error(run("rank", folder, "--by", "nothing"), 2, "leep_loo")
    one_line_error(run("rank", folder, "-o", tmp_path / "x.xlsx"), 2, ".json")
    assert run("rank").returncode == 2
    assert run("rank", folder, "--format", "xml").returncode == 2
    assert not (tmp_path / "x.xlsx").exists()


def test_rank_without_any_model_says_how_to_get_one(home: Path, tmp_path: Path) -> None:
    one_line_error(run("rank", folder_of_pieces(tmp_path / "photos", count=1)), 2, "leepfrog zoo pull")


def test_a_result_that_cannot_be_written_is_an_error(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "r.json"
    one_line_error(run("rank", folder, "-q", "-m", "mobilenet_v2", "-o", blocked), 4, "cannot write")


def test_links_and_pipes_as_output(zoo_home: Path, tmp_path: Path) -> None:
    arguments = ("zoo", "list", "--format", "json")
    wanted = run(*arguments).stdout
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "r.json")
    assert run(*arguments, "-o", tmp_path / "link.json").returncode == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real" / "r.json").read_text() == wanted
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    assert run(*arguments, "-o", tmp_path / "pipe").returncode == 0
    assert reader.communicate(timeout=30)[0] == wanted
    assert (tmp_path / "pipe").is_fifo()


def test_lists_of_models(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    for value in (",", "mobilenet_v2,"):
        one_line_error(run("rank", folder, "-m", value), 2, "an empty name in")
    one_line_error(run("rank", folder, "-m", ",".join(f"absent{i}" for i in range(600))), 2, "absent0")
    assert run("rank", folder, "-q", "-m", "mobilenet_v2, efficientnet_lite0").returncode == 0


def test_ctrl_c(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=200)
    command = [sys.executable, "-m", "leepfrog", "rank", folder]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it
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
    assert "leepfrog: error: interrupted; what was finished is cached" in err
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error(zoo_home: Path) -> None:
    script = f"set -o pipefail; {sys.executable} -m leepfrog zoo list | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_score_of_arrays(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(7), 40)
    labels = rng.integers(0, 3, 40)
    np.save(tmp_path / "p.npy", probs)
    np.save(tmp_path / "y.npy", labels)
    arguments = ("score", "--probs", tmp_path / "p.npy", "--labels", tmp_path / "y.npy")
    from leepfrog import leep, leep_loo

    found = json.loads(run(*arguments, "--format", "json").stdout)["scores"]
    assert found["leep"]["value"] == leep(probs, labels).value
    assert found["leep_loo"]["value"] == leep_loo(probs, labels).value
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").stdout)))
    assert float(rows[1]["value"]) == leep(probs, labels).value
    assert "leep_loo" in run(*arguments).stdout


def test_bad_array_files(home: Path, tmp_path: Path) -> None:
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
        one_line_error(run("score", "--probs", path, "--labels", good), 3, message)
    one_line_error(run("score", "--probs", tmp_path / "gone.npy", "--labels", good), 3, "gone.npy", "No such file")


def test_zoo_list(zoo_home: Path) -> None:
    shown = run("zoo", "list").stdout
    for name in zoo.load():
        assert name in shown
    models = json.loads(run("zoo", "list", "--format", "json").stdout)["models"]
    assert {m["model"] for m in models if m["exported"]} == {e.name for e in zoo.load().values() if e.is_starter}
    one_line_error(run("zoo", "pull", "resnet99"), 2, "no model 'resnet99'")


def test_doctor(home: Path) -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("onnxruntime", "providers", "threads", "cache", "no problems found"):
        assert word in done.stdout
    facts = json.loads(run("doctor", "--format", "json").stdout)
    assert facts["problems"] == []
    home.parent.joinpath("blocked").write_text("")
    blocked = run("doctor", LEEPFROG_HOME=str(home.parent / "blocked" / "home"))
    assert blocked.returncode == 4
    assert "cannot be written" in blocked.stdout


def test_doctor_names_an_onnxruntime_that_does_not_import(home: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('libonnx.so: no such file')\n")
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "problem: onnxruntime does not import: libonnx.so: no such file; pip install" in done.stdout
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    one_line_error(run("rank", folder, PYTHONPATH=str(tmp_path)), 4, "leepfrog doctor")


def test_doctor_sees_onnxruntime_wheels_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert onnxruntime_wheels() == ["onnxruntime"]
    second = tmp_path / "onnxruntime_gpu-1.32.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.32.0\n")
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "onnxruntime and onnxruntime-gpu are both installed" in done.stdout


def test_version() -> None:
    import leepfrog

    assert run("--version").stdout.strip() == leepfrog.__version__


LOST = """
import gc, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
sys.argv = ["leepfrog", "doctor"]
from leepfrog.cli import app, main

class Interrupting:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # where the handler gets to run
            pass

def slow(*_):
    Interrupting()
    time.sleep(100)

app.app = slow
main.main()
"""


def test_ctrl_c_in_a_destructor_is_not_lost(home: Path) -> None:
    """Python would print "Exception ignored in" and go on."""
    start = time.monotonic()
    done = run(code=LOST)
    assert time.monotonic() - start < 60
    one_line_error(done, 130, "interrupted")
    assert "ignored" not in done.stderr
