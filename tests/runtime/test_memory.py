"""Peak memory of rankings and its growth with the number of images, each measured in a separate process."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from commands import run
from photos import pieces
from PIL import Image
from rankings import FAST

pytestmark = pytest.mark.full

FEW, MANY = 1_000, 10_000

RUN = """
import sys, leepfrog
from leepfrog.costs.worker import peak_memory

ranking = leepfrog.rank(sys.argv[1], sys.argv[2:], context=leepfrog.RunContext(threads=2))
print(ranking.n_images, ranking.models[0].n_inferred, peak_memory())
"""


def table(path: Path, names: Sequence[str], n: int) -> Path:
    """Write a table of n rows that repeats the images; an image's class is the prefix of its name."""
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file_name", "label"))
        writer.writerows((name, name.partition("-")[0]) for name in itertools.islice(itertools.cycle(names), n))
    return path


def peak(data: Path, model: str) -> tuple[int, int, int]:
    """Return the number of images ranked, the number of forward passes, and the peak memory in bytes."""
    done = run(data, model, code=RUN)
    assert done.err == ""
    n_images, n_inferred, n_bytes = map(int, done.out.split())
    return n_images, n_inferred, n_bytes


def least_peak(data: Path, model: str, limit: float, forget: Path | None = None) -> int:
    """Return the lowest peak of up to three rankings of many rows, stopping at the first one below the limit.

    The number of images decoded ahead, and the time at which memory returns to the system, depend on the machine's
    load. Load raises a peak and never lowers it, so growth with the number of images shows in every run.

    Args:
        data: table of MANY rows.
        model: name of the model.
        limit: limit in bytes.
        forget: folder of cached outputs, removed before each run; None if all outputs are cached.
    """
    peaks: list[int] = []
    while len(peaks) < 3 and min(peaks, default=limit) >= limit:
        if forget is not None:
            shutil.rmtree(forget)
        n_images, inferred, n_bytes = peak(data, model)
        assert (n_images, inferred) == (MANY, 0 if forget is None else MANY)
        peaks.append(n_bytes)
    return min(peaks)


def test_ten_times_the_rows(zoo_home: Path, tmp_path: Path) -> None:
    """A real model gives 1,000 probabilities and 1,280 features per image; feature scores read 5,000 images at most."""
    names = []
    for subject in ("cat", "coffee", "rocket"):
        for i, piece in enumerate(pieces(subject, 17)):
            names.append(f"{subject}-{i}.jpg")
            Image.fromarray(piece).resize((64, 64)).save(tmp_path / names[-1])
    # Fill the cache first: the memory of a loaded model is not part of the comparison.
    assert peak(table(tmp_path / "each.csv", names, len(names)), FAST[0])[:2] == (len(names), len(names))
    n_few, inferred, few = peak(table(tmp_path / "few.csv", names, FEW), FAST[0])
    assert (n_few, inferred) == (FEW, 0)
    # Measured: 300 and 355 MB, a factor of 1.18. All outputs at once would add 82 MB, or 164 MB in float64.
    assert least_peak(table(tmp_path / "many.csv", names, MANY), FAST[0], 1.3 * few) < 1.3 * few


def test_ten_times_the_files(home: Path, tmp_path: Path) -> None:
    """All images are distinct and decoded; the amount of data read, decoded and waiting is bounded."""
    (home / "models").mkdir(parents=True)
    (home / "models" / "made.onnx").write_bytes(made.scoring().SerializeToString())
    rng = np.random.default_rng(0)
    names = []
    for i in range(MANY):
        kind = i % 3
        names.append(f"{kind}-{i}.png")
        pixels = rng.normal(100 + 20 * np.eye(3)[kind], 40, (made.SIDE, made.SIDE, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / names[-1], compress_level=0)
    n_few, inferred, few = peak(table(tmp_path / "few.csv", names, FEW), "made")
    assert (n_few, inferred) == (FEW, FEW)
    # Measured: 214 and 241 MB, a factor of 1.13; 16 MB are distances of a block of images to all 5,000 that knn reads.
    assert least_peak(table(tmp_path / "many.csv", names, MANY), "made", 1.2 * few, home / "inference") < 1.2 * few
