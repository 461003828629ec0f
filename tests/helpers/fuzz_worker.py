"""A process that reads damaged models one after the other and says what became of each: `python fuzz_worker.py`.

onnxruntime is native code, so a stranger's bytes may end the process; then its parent starts another and counts that.
Each line of stdin is a JSON list [how, path, folder]; each line of stdout is a JSON list [what became of it, why].
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
    """What `rank` does with a model."""
    file = ModelFile.read(path)
    session = Session(file, "cpu", 1)
    batch = np.random.default_rng(0).normal(0, 1, (2, 3, *file.metadata.preprocess.input_size)).astype(np.float32)
    probs, features = session.run(batch)
    assert probs is None or (probs.shape == (2, session.n_source) and np.isfinite(probs).all())
    assert features.shape == (2, session.n_features)
    assert np.isfinite(features).all()


def export(path: Path, folder: Path) -> None:
    """`leepfrog export onnx:`; the file written must then rank, and an error must leave none."""
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
    """What `embed` does with a probe."""
    file = ProbeFile.read(path)
    session = ProbeSession(file, "cpu", 1)
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (2, 3, *file.metadata.preprocess.input_size)).astype(np.float32)
    found = session.run(images, rng.normal(0, 1, (2, file.metadata.n_features)).astype(np.float32))
    assert found.shape == (2, file.metadata.n_filters)
    assert np.isfinite(found).all()


def rank(path: Path, folder: Path) -> None:
    """The whole of `leepfrog rank`."""
    import leepfrog

    ranking = leepfrog.rank(folder / "photos", [path], scores=["all"])
    assert all(np.isfinite(score.value) for score in ranking.models[0].scores.values())


HOWS = {"run": run, "export": export, "probe": probe, "rank": rank}


def main() -> None:
    """Answer every line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print must not come between
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
    # A model may claim any size: what is asked for beyond this is refused, as on a machine that has no more.
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    main()
