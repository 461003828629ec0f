"""Randomly damaged ONNX files: a model that runs, or a one-line error that names the file.

Files are read in a worker process, since onnxruntime is native code: a file that ends the process counts as a crash.
SECURITY.md lists crashes as a known limit, so they do not fail the test; neither does running out of memory.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_worker
import models_made as made
import pytest
import tally
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.inference.choices import PROBE_SUFFIX
from mutations import damage, graph_damage
from photos import folder_of_pieces

pytestmark = pytest.mark.full

SECONDS = 60


class Worker:
    """Worker process that tries models; restarted after a crash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, how: str, content: bytes) -> tuple[str, str]:
        """Return the outcome (good, refused, out of memory, failed, crashed or hung) and a message."""
        path = self._folder / "damaged.onnx"
        path.write_bytes(content)
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, fuzz_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                # A model with an infinite loop is refused well before the worker counts as hung.
                env={
                    **os.environ,
                    "LEEPFROG_SECONDS_PER_IMAGE": "5",
                    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                },
            )
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([how, str(path), str(self._folder)]), file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if line:
            what, message = json.loads(line)
            return what, message
        if not ready:
            self._process.kill()
        code = self._process.wait()
        return ("crashed" if ready else "hung"), f"exit {code}"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def worker(tmp_path: Path, home: Path) -> Iterator[Worker]:
    folder = tmp_path / "fuzz"
    (folder / "models").mkdir(parents=True)
    started = Worker(folder)
    yield started
    started.close()


def settle(kind: str, answer: tuple[str, str], content: bytes, folder: Path) -> None:
    what, message = answer
    tally.outcome(kind, what)
    if what == "hung":
        pytest.fail(f"{kind}: more than {SECONDS} s; the input is kept in {tally.hang(kind, 'damaged.onnx', content)}")
    if what == "crashed":  # keep the file for a bug report to onnxruntime
        (folder / f"{what}-{tally.OUTCOMES[f'{kind} {what}']}.onnx").write_bytes(content)
    assert what in ("good", "refused", "out of memory", "crashed"), answer
    assert "\n" not in message
    if what == "refused":
        assert "damaged.onnx" in message or "written.onnx" in message, message


SCORING = made.scoring().SerializeToString()
STRANGERS = [
    made.classifier(head, tail=tail).model.SerializeToString()
    for head, tail in (("gemm", ()), ("matmul", ("Softmax",)), ("tokens", ()), ("conv", ("LogSoftmax",)))
]


@pytest.mark.parametrize(("how", "n"), [("run", 300), ("export", 120), ("rank", 8)])
def test_made_models(how: str, n: int, worker: Worker, tmp_path: Path) -> None:
    seeds = STRANGERS if how == "export" else [SCORING]
    if how == "rank":
        folder_of_pieces(tmp_path / "fuzz" / "photos", count=2)

    @tally.examples(n)
    @given(st.sampled_from(seeds), st.one_of(graph_damage(), graph_damage(), damage(*seeds)))
    def try_one(seed: bytes, to: Any) -> None:
        content = to(seed)
        settle(f"models, {how}", worker.ask(how, content), content, tmp_path)

    try_one()


def test_probes(made_home: Path, worker: Worker, tmp_path: Path) -> None:
    seed = (made_home / "models" / f"made{PROBE_SUFFIX}").read_bytes()

    @tally.examples(120)
    @given(st.one_of(graph_damage(), graph_damage(), damage(seed)))
    def try_one(to: Any) -> None:
        content = to(seed)
        settle("probes", worker.ask("probe", content), content, tmp_path)

    try_one()


def test_a_real_model(starters: Path, worker: Worker, tmp_path: Path) -> None:
    seed = (starters / "mobilenet_v2.onnx").read_bytes()

    @tally.examples(12)
    @given(st.one_of(graph_damage(), graph_damage(), damage(SCORING)))
    def try_one(to: Any) -> None:
        content = to(seed)
        settle("models, run", worker.ask("run", content), content, tmp_path)

    try_one()
