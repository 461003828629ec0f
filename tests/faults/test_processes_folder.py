"""Untrusted files in the current folder are neither executed nor read as settings by any command."""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import models_made as made
import numpy as np
import pytest
from commands import Done, process
from help_text import commands
from leepfrog import child
from photos import folder_of_pieces

pytestmark = pytest.mark.full

SCRIPT = Path(sys.executable).with_name("leepfrog")
MODULES = (
    *("json", "numpy", "typing", "numba", "onnxruntime", "leepfrog", "leepfrog_exporter", "pip", "torch", "timm"),
    *("torchvision", "onnx", "onnxscript", "matplotlib", "jinja2", "PIL", "scipy", "typer", "click", "threadpoolctl"),
    *("yaml", "subprocess", "re", "encodings", "sitecustomize", "usercustomize", "resource", "importlib", "runpy"),
)


@dataclasses.dataclass
class Material:
    """Inputs of the commands."""

    folder: Path
    home: Path

    def fill(self, command: str) -> list[str]:
        """Return the words of a command with AT replaced by the folder."""
        return [word.replace("AT", str(self.folder)) for word in command.split()]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, made_home: Path) -> Material:
    folder = tmp_path_factory.mktemp("material")
    environment = {**os.environ, "LEEPFROG_HOME": str(made_home)}
    photos = folder_of_pieces(folder / "photos", count=4)
    made.classifier().save(folder / "source.onnx")
    (folder / "other.onnx").write_bytes(made.scoring(name="other").SerializeToString())
    rng = np.random.default_rng(0)
    np.save(folder / "y.npy", np.arange(30) % 3)
    np.save(folder / "x.npy", rng.normal(size=(30, 4)))
    (folder / "errors.csv").write_text("task,model,error\none,a,0.25\none,b,0.5\n")
    process(["rank", photos, "-m", "made", "-o", folder / "base.json"], env=environment).check(0)
    for name in ("one", "two"):
        words = ["embed", photos, "--probe", "made", "--name", name, "-o", folder / f"{name}.npz"]
        process(words, env=environment).check(0)
    library = folder / "library"
    words = ["library", "add", library, folder / "one.npz", folder / "two.npz", "--errors", folder / "errors.csv"]
    process(words, env=environment).check(0)
    return Material(folder, made_home)


# Every command with its exit code. The last two run pip, which fails without network.
COMMANDS = {
    "rank": ("rank AT/photos -m made -s all --plot front.svg --report page.html", 0),
    "bench": ("bench made --seconds 0.02", 0),
    "check": ("check AT/base.json AT/photos --fail-on score,size,latency --latency-tolerance 1e6", 0),
    "verify": ("verify AT/base.json AT/photos", 0),
    "explain": ("explain AT/photos -m made", 0),
    "validate": ("validate AT/photos -m made,AT/other.onnx --splits 2", 0),
    "score": ("score --labels AT/y.npy --features AT/x.npy", 0),
    "embed": ("embed AT/photos --probe made -o task.npz", 0),
    "distance": ("distance AT/one.npz AT/two.npz", 0),
    "export": ("export onnx:AT/source.onnx --preprocess unit --probe --force", 0),
    "experts": ("experts AT/one.npz --library AT/library", 0),
    "map": ("map AT/library -o map.svg", 0),
    "schema": ("schema", 0),
    "doctor": ("doctor", 0),
    "library add": ("library add library AT/one.npz", 0),
    "library list": ("library list AT/library", 0),
    "zoo list": ("zoo list", 0),
    "zoo search": ("zoo search vit", 0),
    "zoo pull": ("zoo pull mobilenet_v2", 4),
    "demo": ("demo", 4),
}
NO_NETWORK = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "",
}


def plant(folder: Path) -> Path:
    """Create modules and settings in a folder; return the file to which modules write their names if run."""
    signed = folder.parent / "signed"
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(signed)!r}, 'a').write(__name__ + '\\n')\n")
    (folder / ".numba_config.yaml").write_text("cache_dir: ./numba-cache\ndump_ir: 1\n")
    (folder / "matplotlibrc").write_bytes(b"\xff\xfe not text")
    return signed


def called(words: list[str], folder: Path, home: Path, **environment: str) -> Done:
    """Run the installed command in a folder."""
    done = subprocess.run(
        [SCRIPT, *words], cwd=folder, env={**os.environ, "LEEPFROG_HOME": str(home), **NO_NETWORK, **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return Done(" ".join(words), done.returncode, done.stdout, done.stderr)


def test_every_command_is_tried() -> None:
    assert {name for name, _ in commands()} == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_fault_01_code_in_the_current_folder_does_not_run(name: str, material: Material, tmp_path: Path) -> None:
    command, code = COMMANDS[name]
    home, folder = tmp_path / "home", tmp_path / "here"
    shutil.copytree(material.home / "models", home / "models")
    folder.mkdir()
    signed = plant(folder)
    done = called(material.fill(command), folder, home)
    assert not signed.exists(), signed.read_text()
    assert done.code == code, done
    if code:
        assert "pip could not download" in done.error
    assert not (folder / "numba-cache").exists()
    assert "dump" not in done.out.lower()
    assert not (folder / "__pycache__").exists()


def scores(found: Any) -> list[dict[str, float]]:
    return [{name: score["value"] for name, score in model["scores"].items()} for model in found["models"]]


def test_fault_01_results_are_those_of_a_clean_folder(material: Material, tmp_path: Path) -> None:
    words = [*material.fill("rank AT/photos -m made -s all"), "--format", "json"]
    results = []
    for name in ("clean", "hostile"):
        (tmp_path / name / "here").mkdir(parents=True)
        shutil.copytree(material.home / "models", tmp_path / name / "home" / "models")
        if name == "hostile":
            plant(tmp_path / name / "here")
        results.append(called(words, tmp_path / name / "here", tmp_path / name / "home"))
    clean, hostile = results
    assert scores(hostile.json) == scores(clean.json)
    assert hostile.json["models"][0]["cost"].keys() == clean.json["models"][0]["cost"].keys()


@pytest.mark.parametrize("path", ["", os.curdir, "HERE"])
def test_fault_01_nor_from_a_python_path_with_the_current_folder(path: str, tmp_path: Path, made_home: Path) -> None:
    """An empty entry of PYTHONPATH, as from `export PYTHONPATH=$PYTHONPATH:/more`, means the current folder.

    The parent process honors it, as any Python does, but imports everything before it enters the folder.
    """
    (tmp_path / "here").mkdir()
    signed = plant(tmp_path / "here")
    entry = path.replace("HERE", str(tmp_path / "here"))
    code = (
        "import os, sys, leepfrog.child as child\n"
        f"os.chdir({str(tmp_path / 'here')!r})\n"
        f"sys.path.insert(0, {entry!r})\nos.environ['PYTHONPATH'] = {entry + os.pathsep!r}\n"
        "done = child.run('leepfrog.costs.worker')\nprint(done.stderr.splitlines()[-1])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "not enough values" in done.stdout  # the worker started, and failed for lack of arguments
    assert not signed.exists(), signed.read_text()


def test_fault_01_python_m_leepfrog_leaves_the_current_folder(material: Material, tmp_path: Path) -> None:
    """Imports of `python -m` itself cannot be controlled, but leepfrog imports nothing from there."""
    (tmp_path / "here").mkdir()
    signed = plant(tmp_path / "here")
    for name in ("leepfrog", "sitecustomize", "usercustomize", "encodings", "importlib", "runpy"):
        (tmp_path / "here" / f"{name}.py").unlink()
    words = [sys.executable, "-m", "leepfrog", *material.fill("score --labels AT/y.npy --features AT/x.npy")]
    done = subprocess.run(words, cwd=tmp_path / "here", capture_output=True, text=True, check=False)
    assert not signed.exists(), signed.read_text()
    assert done.returncode == 0, done


def test_fault_08_a_child_has_an_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the user's Python settings, a child uses UTF-8, has no stdin and returns its own exit code."""
    (tmp_path / "startup.py").write_text("raise SystemExit(9)")
    (tmp_path / "asked.py").write_text(
        "import sys\nprint('\\u732b', sys.stdin.read(), sys.flags.safe_path)\nsys.exit(5)\n"
    )
    for name, value in {
        "PYTHONIOENCODING": "utf-16", "PYTHONINSPECT": "1", "PYTHONSTARTUP": str(tmp_path / "startup.py"),
        "PYTHONWARNINGS": "error", "PYTHONUTF8": "0", "PYTHONVERBOSE": "1", "NUMBA_NUM_THREADS": "0", "LC_ALL": "C",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path)
    done = child.run("asked")
    assert (done.returncode, done.stdout, done.stderr) == (5, "\u732b  True\n", "")


@pytest.mark.parametrize("settings", ["cache_dir: ./numba-cache\n", "num_threads: 0\n", "debug: 1\n", "- a list\n"])
def test_fault_29_numba_does_not_read_the_current_folder(settings: str, tmp_path: Path) -> None:
    """Neither on import nor on compilation."""
    (tmp_path / ".numba_config.yaml").write_text(settings)
    code = (
        "import numpy as np\nfrom leepfrog.kernels.jit import kernel\n"
        "@kernel()\ndef total(x):\n    return x.sum()\n"
        "print(total(np.ones(3)))\n"
    )
    (tmp_path / "kernels").mkdir()
    script = tmp_path / "kernels" / "script.py"
    script.write_text(code)
    words = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3.0\n", "")
    assert not (tmp_path / "numba-cache").exists()


@pytest.mark.parametrize("where", ["here", "MATPLOTLIBRC"])
def test_fault_29_pictures_obey_no_settings(where: str, material: Material, tmp_path: Path) -> None:
    words = material.fill("map AT/library -o map.svg")
    called(words, tmp_path, material.home).check(0)
    plain = (tmp_path / "map.svg").read_bytes()
    (tmp_path / "matplotlibrc").write_text("savefig.facecolor: red\ntext.usetex: True\nsvg.fonttype: path\n")
    done = called(
        words, tmp_path, material.home, **({} if where == "here" else {where: str(tmp_path / "matplotlibrc")})
    )
    done.check(0)
    assert (tmp_path / "map.svg").read_bytes() == plain


HOSTILE = (
    r"\$(touch signed)x",
    "$(touch signed)y",
    "`touch signed`z",
    "a;touch signed",
    "a\ntouch signed",
    "a'b",
    'a"b',
)


@pytest.fixture
def completing(home: Path, tmp_path: Path) -> dict[str, str]:
    """Home folder with hostile model names; returns a shell's environment."""
    (home / "models").mkdir(parents=True)
    for name in (*HOSTILE, "tame"):
        (home / "models" / f"{name}.onnx").write_bytes(b"")
        (home / "models" / f"{name}.fisher.onnx").write_bytes(b"")
    return {**os.environ, "PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}", "ZDOTDIR": str(tmp_path)}


@pytest.mark.parametrize(
    "typed", ["rank D -m ", "rank D -m tame,", "bench ", "export ", "embed D --probe ", "explain D --model "]
)
def test_fault_29_tab_offers_nothing_that_a_shell_evaluates(typed: str, completing: dict[str, str]) -> None:
    question = {"_LEEPFROG_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"leepfrog {typed}"}
    done = subprocess.run([SCRIPT], env={**completing, **question}, capture_output=True, text=True, check=True)
    assert "signed" not in done.stdout
    assert "$" not in done.stdout
    assert "`" not in done.stdout
    assert "tame" in done.stdout or typed.endswith("tame,")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_fault_29_zsh_runs_nothing_on_tab(completing: dict[str, str], tmp_path: Path) -> None:
    """Press Tab in a terminal with zsh's own completion, whose _arguments evaluates names."""
    import pty

    shown = subprocess.run(
        [SCRIPT, "--show-completion", "zsh"], capture_output=True, text=True, check=True,
        env={**completing, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    (tmp_path / "completion.zsh").write_text(shown.stdout)
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
        env={**completing, "TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        os.write(ours, b"autoload -Uz compinit; compinit -u -D; source completion.zsh; print rea''dy\n")
        seen = _read_until(ours, b"ready\r\n")
        os.write(ours, b"leepfrog rank D -m \t")
        seen = _read_until(ours, b"-m tame")
        assert b"-m tame" in seen, seen  # the only name offered
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
    assert not (tmp_path / "signed").exists()


def _read_until(terminal: int, wanted: bytes, seconds: float = 30) -> bytes:
    seen, until = b"", time.monotonic() + seconds
    while wanted not in seen and (left := until - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            seen += os.read(terminal, 1 << 16)
    return seen
