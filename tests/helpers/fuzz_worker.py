"""Worker process that reads damaged models and reports the outcome of each: `python fuzz_worker.py`.

onnxruntime is native code, so a malformed file may crash the process; the parent counts the crash and restarts it. Each
line of stdin is a JSON list [how, path, folder]; each line of stdout is a JSON list [outcome, message].
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path

import models_made as made
import numpy as np
from leepfrog.errors import LeepfrogError
from leepfrog.inference.model import ModelFile, Session
from leepfrog.task2vec.probe import ProbeFile
from leepfrog.task2vec.session import ProbeSession


def run(path: Path, folder: Path) -> None:
    """Read and run a scoring model, as `rank` does."""
    file = ModelFile.read(path)
    session = Session(file, "cpu", 1)
    batch = np.random.default_rng(0).normal(0, 1, (2, 3, *file.metadata.preprocess.input_size)).astype(np.float32)
    probs, features = session.run(batch)
    assert probs is None or (probs.shape == (2, session.n_source) and np.isfinite(probs).all())
    assert features.shape == (2, session.n_features)
    assert np.isfinite(features).all()


def export(path: Path, folder: Path) -> None:
    """Export an ONNX file; the written model must run, and a failed export must leave no file."""
    from leepfrog_exporter.export import export as export_source

    written = folder / "models" / "written.onnx"
    try:
        export_source(f"onnx:{path}", made.options(name="written", output=written.parent, force=True))
    except LeepfrogError:
        assert not written.exists()
        raise
    try:
        run(written, folder)
    finally:
        written.unlink()
    assert not list(written.parent.iterdir())


def probe(path: Path, folder: Path) -> None:
    """Read and run a probe model, as `embed` does."""
    file = ProbeFile.read(path)
    session = ProbeSession(file, "cpu", 1)
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (2, 3, *file.metadata.preprocess.input_size)).astype(np.float32)
    found = session.run(images, rng.normal(0, 1, (2, file.metadata.n_features)).astype(np.float32))
    assert found.shape == (2, file.metadata.n_filters)
    assert np.isfinite(found).all()


def rank(path: Path, folder: Path) -> None:
    """Run `leepfrog rank` with all scores."""
    import leepfrog

    ranking = leepfrog.rank(folder / "photos", [path], scores=["all"])
    assert all(np.isfinite(score.value) for score in ranking.models[0].scores.values())


HOWS = {"run": run, "export": export, "probe": probe, "rank": rank}


def main() -> None:
    """Process every line of stdin."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep output of libraries out of the protocol
    for line in sys.stdin:
        how, path, folder = json.loads(line)
        try:
            HOWS[how](Path(path), Path(folder))
            answer = ("good", "")
        except LeepfrogError as error:
            answer = ("refused", str(error))
        except MemoryError:
            answer = ("out of memory", "")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            answer = ("failed", f"{type(error).__name__}: {error} ({where.name}, line {where.lineno}: {where.line})")
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # A model may declare any size: limit memory, as if the machine had no more.
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    main()
