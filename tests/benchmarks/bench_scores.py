"""Every score against its formula in plain NumPy, the bootstrap, and all of it against inference.

    PYTHONPATH=tests python tests/benchmarks/bench_scores.py          # arrays
    PYTHONPATH=tests python tests/benchmarks/bench_scores.py FOLDER   # all scores of mobilenet_v2 against its inference

The formulas are those of tests/reference/scores.py where these are loops over matrices; LogME's is the fixed point that
its paper describes, from one singular value decomposition, with all D eigenvalues.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from leepfrog import scores
from leepfrog.images.find import find_images
from leepfrog.images.preprocess import normalise, resize_and_crop
from leepfrog.inference.local import find_models
from leepfrog.inference.model import Session
from leepfrog.inference.outputs import infer
from leepfrog.progress import Silent
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.together import scored
from leepfrog.scoring.uncertainty import intervals, resampled_means
from paired import compare, machine, report
from reference import scores as reference

N, D, Z, C = 10_000, 1_280, 1_000, 100


def plain_logme(features: np.ndarray, labels: np.ndarray, steps: int = 11) -> float:
    """Fixed point of alpha and beta, class by class."""
    n, width = features.shape
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    s = s**2
    total = 0.0
    for label in range(C):
        y = (labels == label).astype(float)
        along = np.sqrt(s) * (u.T @ y)
        a = b = 1.0
        for _ in range(steps):
            m = vt.T @ (b * along / (a + b * s))
            gamma = (b * s / (a + b * s)).sum()
            error = ((features @ m - y) ** 2).sum()
            a, b = gamma / (m @ m), (n - gamma) / error
        total += width / 2 * np.log(a) + n / 2 * np.log(b / 2 / np.pi) - b / 2 * error - a / 2 * (m @ m)
        total -= np.log(a + b * s).sum() / 2
    return float(total / C / n)


def plain_leep(probs: np.ndarray, labels: np.ndarray) -> float:
    joint = np.zeros((C, probs.shape[1]))
    for y in range(C):
        joint[y] = (probs[labels == y] / len(probs)).sum(axis=0)
    conditional = (joint / joint.sum(axis=0, keepdims=True)).T
    expected = probs @ conditional
    return float(np.mean(np.log([row[y] for row, y in zip(expected, labels, strict=True)])))


def arrays() -> None:
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(C), rng.integers(0, C, N - C)]
    probs = rng.dirichlet(np.full(Z, 0.1), N).astype(np.float32)
    features = np.maximum(rng.standard_normal((N, D)) + rng.standard_normal((C, D))[labels], 0).astype(np.float32)
    f64 = features.astype(np.float64)
    print(f"{N} images x {D} features x {C} classes; {machine()}")

    print("LogME: leepfrog's maximum", scores.logme(features, labels).value, "fixed point", plain_logme(f64, labels))
    report(
        compare({"logme": lambda: scores.logme(features, labels), "fixed point": lambda: plain_logme(f64, labels)}, 2),
        "logme",
    )

    def leep_with_interval() -> object:
        score = scores.leep(probs, labels)
        return intervals(resampled_means(score.terms[:, None], labels, replicates=1000))

    contestants = {
        "leep, 1,000 replicates": leep_with_interval,
        "leep": lambda: scores.leep(probs, labels),
        "10 plain leeps": lambda: [plain_leep(probs, labels) for _ in range(10)],
    }
    report(compare(contestants, 5), "leep, 1,000 replicates")

    small = rng.permutation(N)[:2000]
    x, y = f64[small, :256], np.unique(labels[small] % 10, return_inverse=True)[1]
    p = probs[small]
    print(f"{len(x)} images x {x.shape[1]} features x 10 classes")
    pairs = {
        "nce": (lambda: scores.nce(p, y), lambda: reference.nce(p, list(y))),
        "h_score": (lambda: scores.h_score(x, y), lambda: reference.h_score(x, y, 0.1)),
        "gbc": (
            lambda: scores.gbc(x, y),
            lambda: reference.gbc(reference.reduced(x, 64), y, False, 1e-4),
        ),
        "transrate": (lambda: scores.transrate(x, y), lambda: reference.transrate(x, y, 1e-4)),
        "sfda": (lambda: scores.sfda(0.1 * x, y), lambda: reference.sfda(0.1 * x, y)),
        "parc": (lambda: scores.parc(x, y), lambda: reference.parc(reference.reduced(x, 32), y)),
        "ridge": (
            lambda: scores.ridge(x[:200], y[:200]),
            lambda: [
                reference.best_log_likelihood(reference.ridge_predictions(x[:200], y[:200], strength), y[:200])
                for strength in 10.0 ** np.arange(-3, 3.5, 0.5)
            ],
        ),
    }
    for name, (ours, plain) in pairs.items():
        report(compare({name: ours, "plain": plain}, 3 if name != "ridge" else 1), name)


def against_inference(folder: Path) -> None:
    images, models = find_images(folder), find_models(["mobilenet_v2"])
    outputs = infer(images, models, "cpu", 2, False, Silent())
    labels, probs, features = images.labels[outputs.kept], outputs.probs(0), outputs.features(0)
    spec, session = models[0].metadata.preprocess, Session(models[0], "cpu", 2)
    batch = np.stack([resize_and_crop(each.load()[1], spec) for each in images.images])
    pixels = [normalise(part, spec) for part in np.array_split(batch, len(batch) // 16)]
    each: dict[str, list[float]] = {}

    def score_all() -> None:
        sample = Sample.of(labels, probs=probs, features=features)
        found = list(scored(sample, list(SCORES.values()), 2).values())
        start = time.perf_counter()
        intervals(resampled_means(np.stack([score.terms for score in found], axis=1), labels))
        each.setdefault("bootstrap", []).append(time.perf_counter() - start)

    sample = Sample.of(labels, probs=probs, features=features)
    for name, definition in SCORES.items():
        start = time.perf_counter()
        definition.of(sample)
        each[name] = [time.perf_counter() - start]
    print(f"{len(labels)} images, {features.shape[1]} features; {machine()}")
    report(
        compare({"inference": lambda: [session.run(part) for part in pixels], "scores, intervals": score_all}, 9),
        "inference",
    )
    for name, seconds in each.items():
        print(f"  {name:14s} {1e3 * float(np.median(seconds)):7.1f} ms")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        against_inference(Path(sys.argv[1]))
    else:
        arrays()
