"""Every score against its formula in plain NumPy, and all scores with intervals against inference.

    PYTHONPATH=tests python tests/benchmarks/bench_scores.py [FOLDER]   # images; default: crops of photographs

The formulas are in plain.py and tests/reference/scores.py. Unlike leepfrog, none of them computes a standard error. For
LEEP, see bench_leep.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain
from bench_rank import fastest_layout, infer_alone
from leepfrog import scores
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.images.find import find_images
from leepfrog.inference.device import available_threads
from leepfrog.scoring.parallel import compute_scores
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.uncertainty import intervals, resampled_means
from material import empty_home, photographs, starters
from paired import Row, compare, facts, rows_of, table
from reference import scores as reference

N, D, Z, C = 10_000, 1_280, 1_000, 100
# Sizes of smaller arrays, and of the smallest, on which a head is refitted for each image.
SMALL_N, SMALL_D, SMALL_C = 2_000, 256, 10
FEW_N = 200
ROUNDS = 9

Contestants = dict[str, Callable[[], object]]


def rows(folder: Path, rounds: int) -> list[Row]:
    found = []
    for pair in (*against_formulas(), against_inference(folder, rounds)):
        found += rows_of(compare(pair, rounds), [tuple(pair)])
    return found


def against_formulas() -> list[Contestants]:
    """Return pairs of a score and its formula, on features of overlapping classes."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(C), rng.integers(0, C, N - C)]
    features = np.maximum(rng.standard_normal((N, D)) + rng.standard_normal((C, D))[labels], 0).astype(np.float32)
    f64 = features.astype(np.float64)
    probs = rng.dirichlet(np.full(Z, 0.1), SMALL_N).astype(np.float32)
    small = rng.permutation(N)[:SMALL_N]
    x, y = np.ascontiguousarray(f64[small, :SMALL_D]), labels[small] % SMALL_C
    few_x, few_y = x[:FEW_N], y[:FEW_N]
    large, middle = f"{N} images x {D} x {C} classes", f"{SMALL_N} x {SMALL_D} x {SMALL_C}"
    few = f"{FEW_N} x {SMALL_D} x {SMALL_C}"
    formula = "its formula in NumPy"
    return [
        {
            f"`logme`, {large}": lambda: scores.logme(features, labels),
            "the paper's fixed point in NumPy": lambda: plain.logme(f64, labels),
        },
        {f"`h_score`, {middle}": lambda: scores.h_score(x, y), formula: lambda: reference.h_score(x, y, 0.1)},
        {
            f"`ridge`, {few}": lambda: scores.ridge(few_x, few_y),
            "NumPy heads, refitted without each image": lambda: plain.ridge(few_x, few_y),
        },
        {f"`knn`, {middle}": lambda: scores.knn(x, y), "NumPy distances, one image at a time": lambda: plain.knn(x, y)},
        {
            f"`linear_probe`, {middle}": lambda: scores.linear_probe(x, y),
            "scikit-learn's logistic regression on 5 folds": lambda: plain.linear_probe(x, y),
        },
        {
            f"`n_leep`, {middle}": lambda: scores.n_leep(x, y),
            "scikit-learn's PCA and mixture, NumPy LEEP": lambda: plain.n_leep(x, y),
        },
        {
            f"`nce`, {SMALL_N} x {Z} source classes": lambda: scores.nce(probs, y),
            "its formula in Python": lambda: reference.nce(probs, list(y)),
        },
        {
            f"`gbc`, {middle}": lambda: scores.gbc(x, y),
            formula: lambda: reference.gbc(reference.reduced(x, 64), y, False, 1e-4),
        },
        {f"`transrate`, {middle}": lambda: scores.transrate(x, y), formula: lambda: reference.transrate(x, y, 1e-4)},
        {f"`sfda`, {middle}": lambda: scores.sfda(0.1 * x, y), formula: lambda: reference.sfda(0.1 * x, y)},
        {f"`parc`, {middle}": lambda: scores.parc(x, y), formula: lambda: reference.parc(reference.reduced(x, 32), y)},
    ]


def against_inference(folder: Path, rounds: int) -> Contestants:
    """Return a pair: all scores of one model with intervals, and inference of that model."""
    images, model, threads = find_images(folder), starters()[0], available_threads()
    with empty_home():
        outputs = infer(images, [model], RunContext(threads=threads))
        (only,) = outputs
        labels, probs, features = outputs.hashed.labels, only.probs(), only.features()

    layout = fastest_layout([model], images, rounds)

    def score_all() -> None:
        found = compute_scores(
            Sample.of(labels, probs=probs, features=features), list(SCORES.values()), threads
        ).values()
        intervals(resampled_means(np.stack([score.terms for score in found], axis=1), labels))

    return {
        f"all {len(SCORES)} scores with intervals, {len(labels)} images": score_all,
        f"onnxruntime alone on {model.name}": infer_alone([model], images, layout),
    }


if __name__ == "__main__":
    with photographs(400, Path(sys.argv[1]) if len(sys.argv) > 1 else None) as chosen:
        print(*facts(), "", table(rows(chosen, ROUNDS)), sep="\n")
