"""Completion in bash, fish and zsh for an installed `leepfrog`, and the imports that it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Done, run
from help_text import commands
from leepfrog.scoring.names import SCORE_NAMES
from leepfrog_exporter import zoo

pytestmark = pytest.mark.full

START = "from leepfrog.cli.main import main\nmain()\n"

# Source the output of `leepfrog --show-completion`, then press Tab after the given words.
PRESS_TAB = """
source <(leepfrog --show-completion)
COMP_WORDS=(leepfrog "$@")
COMP_CWORD=$#
$(complete -p leepfrog | grep -o '_[a-z_]*completion[a-z_]*') leepfrog
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with an executable called `leepfrog`, as after installation."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "leepfrog"
    script.write_text(f"#!{sys.executable}\n{START}")
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def models(home: Path) -> Path:
    """A models folder of empty files with the names of models."""
    folder = home / "models"
    folder.mkdir(parents=True)
    for name in ("mobilenet_v2", "mobilenet_v2-int8", "efficientnet_lite0", "mobilenet_v2.fisher"):
        (folder / f"{name}.onnx").write_bytes(b"")
    return folder


def tab(path: str, *words: str) -> list[str]:
    """Return bash's completions of the last word."""
    shell = shutil.which("bash")
    assert shell
    done = subprocess.run(
        [shell, "--norc", "-c", PRESS_TAB, "bash", *words],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def asked(*words: str, **environment: str) -> Done:
    """Answer a shell's completion request; the last line of stdout lists the imported modules."""
    code = (
        "import atexit, json, sys\nsys.argv = ['leepfrog']\n"
        "atexit.register(lambda: print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules}))))\n" + START
    )
    question = {
        "_LEEPFROG_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["leepfrog", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return run(code=code, **question, **environment)


def offered(*words: str, **environment: str) -> list[str]:
    return asked(*words, **environment).out.split("\n[")[0].split()


def test_bash(path: str, models: Path) -> None:
    assert tab(path, "ra") == ["rank"]
    assert tab(path, "zoo", "pull", "mobilenet_v3_s") == [n for n in zoo.load() if n.startswith("mobilenet_v3_s")]
    assert sorted(tab(path, "rank", "PHOTOS", "--models", "m")) == ["mobilenet_v2", "mobilenet_v2-int8"]


def shell(name: str) -> str:
    """Return the path of a shell; skip the test if it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine (Debian: apt-get install {name})")
    return found


def test_fish(path: str, models: Path, tmp_path: Path) -> None:
    line = "leepfrog rank PHOTOS --models m"
    done = subprocess.run(
        [shell("fish"), "--no-config", "-c", f"leepfrog --show-completion fish | source; complete -C '{line}'"],
        env=settings("fish", path, tmp_path), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == ["mobilenet_v2", "mobilenet_v2-int8"]


# An interactive zsh on a terminal of its own, in which Tab is pressed twice.
ZSH = r"""
zmodload zsh/zpty
zpty z 'zsh -f -i'
zpty -w z 'autoload -Uz compinit && compinit -u -D && source <(leepfrog --show-completion zsh); echo READ""Y'
while zpty -r z line; do [[ $line == *READY* ]] && break; done
zpty -w -n z $'leepfrog rank PHOTOS --models m\t\t'
while zpty -r -m z line '*-int8*'; do print -r -- "$line"; break; done
zpty -d z
"""


def test_zsh(path: str, models: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [shell("zsh"), "-f", "-c", ZSH],
        env=settings("zsh", path, tmp_path), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "mobilenet_v2-int8" in done.stdout
    assert "efficientnet" not in done.stdout


def settings(name: str, path: str, home: Path) -> dict[str, str]:
    """Return the environment of a shell."""
    return {
        **os.environ, "PATH": path, "HOME": str(home), "SHELL": name,
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("rank", "--mod"), ["--models"]),
        (("rank", "D", "-m", "mobilenet_v2,"), ["mobilenet_v2,efficientnet_lite0", "mobilenet_v2,mobilenet_v2-int8"]),
        (("bench", "eff"), ["efficientnet_lite0"]),
        (("explain", "D", "--model", "eff"), ["efficientnet_lite0"]),
        (("embed", "D", "--probe", ""), ["mobilenet_v2"]),
        (("rank", "D", "--by", ""), ["combined", *SCORE_NAMES]),
        (("rank", "D", "--score", "knn,n"), [f"knn,{name}" for name in SCORE_NAMES if name.startswith("n")]),
        (("score", "-s", "log"), [name for name in SCORE_NAMES if name.startswith("log")]),
        (("validate", "D", "-s", "a"), ["all"]),
        (("rank", "D", "--format", ""), ["table", "json", "csv", "md"]),
        (("rank", "D", "--device", "c"), ["cpu", "cuda"]),
        (("distance", "--kind", "asym"), ["asymmetric", "asymmetric_kl"]),
        (("export", "x", "--precision", "fp16,"), ["fp16,int8"]),
        (("export", "--preprocess", "i"), ["imagenet", "inception"]),
        (("library", ""), ["add", "list"]),
        (("rank", "D", "-m", "no-such"), []),
    ],
)  # fmt: skip
def test_what_is_offered(words: tuple[str, ...], values: list[str], models: Path) -> None:
    assert sorted(offered(*words)) == sorted(values)


@pytest.mark.parametrize("words", [("rank", "D", "-m", ""), ("zoo", "pull", ""), ("export", "")], ids=" ".join)
def test_nothing_heavy_is_imported(words: tuple[str, ...], models: Path) -> None:
    done = asked(*words)
    assert done.err == ""
    loaded = set(json.loads(done.out.splitlines()[-1]))
    assert "leepfrog" in loaded
    assert not {"numpy", "numba", "onnxruntime", "PIL", "torch", "onnx", "rich"} & loaded


def test_trouble_is_kept_silent(tmp_path: Path) -> None:
    """The models folder is missing, or its path cannot be resolved."""
    for environment in ({"LEEPFROG_HOME": str(tmp_path / "none")}, {"LEEPFROG_HOME": "~nobody-of-that-name/x"}):
        done = asked("rank", "D", "-m", "", **environment)
        assert done.err == ""
        assert done.out.startswith(("[", "\n["))


def test_options_that_take_names_complete_them() -> None:
    """Every option that takes names of models, scores, devices and the like completes them."""
    named = {"--models", "--model", "--probe", "--by", "--score", "--device", "--kind", "--estimator", "--precision"}
    for name, command in commands():
        for option in command.params:
            if named & set(option.opts) and not option.is_flag:
                assert option._custom_shell_complete is not None, (name, option.opts)
