"""Candidate predictors of retrained-head accuracy: held-out predictions of cheap heads on transformed features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from leepfrog.scoring.held_out import HeldOut, held_out_softmax, unit_coordinates
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.scores import linear_probe
from leepfrog.scoring.scores.ridge import held_out_ridge
from leepfrog.scoring.softmax import log_softmax, softmax
from scipy.linalg import cholesky, solve_triangular

Floats = np.ndarray

PROBE = "probe"
"""Name of the head whose accuracy is the score `linear_probe`."""


def _changed(sample: FeatureSample, features: Floats) -> FeatureSample:
    return FeatureSample(sample.labels, sample.n_target, features)


def _unit_rows(sample: FeatureSample) -> FeatureSample:
    lengths = np.linalg.norm(sample.x, axis=1, keepdims=True)
    return _changed(sample, sample.x / np.where(lengths > 0, lengths, 1))


def _signed_root(sample: FeatureSample) -> FeatureSample:
    return _changed(sample, np.sign(sample.x) * np.sqrt(np.abs(sample.x)))


def _beside_logits(sample: FeatureSample, probs: Floats | None) -> FeatureSample:
    if probs is None:
        return sample
    logits = np.log(np.maximum(np.asarray(probs, np.float64), 1e-6))
    # Scale the logits to the same total variance as the features.
    share = np.sqrt(sample.x.var(axis=0).sum() / max(logits.var(axis=0).sum(), 1e-12))
    return _changed(sample, np.hstack([sample.x, share * logits]))


def left_out_approximately(sample: FeatureSample, penalties: Sequence[float]) -> HeldOut:
    """Approximate leave-one-out predictions of softmax regression, by one Newton step per left-out image.

    Source: K. Rad, A. Maleki, "A scalable estimate of the out-of-sample prediction error via approximate leave-one-out"
    (JRSS B 2020). The step uses the blocks of the Hessian for single classes, and ignores those between classes.
    """
    n, n_classes, at = len(sample), sample.n_target, np.arange(len(sample))
    x = unit_coordinates(sample)[0].astype(np.float32)
    design = np.column_stack([x, np.ones(n, np.float32)])
    best, theta = None, None
    for penalty in penalties:
        fit = fit_softmax(x, sample.labels, np.full(n, 1 / n), n_classes, penalty / n, 1e-3, theta)
        theta = fit.theta
        logits = fit.logits(x).astype(np.float64)
        probs = softmax(logits)
        leverage = np.empty((n, n_classes))
        for c in range(n_classes):
            curvature = (probs[:, c] * (1 - probs[:, c])).astype(np.float32)
            hessian = (design * curvature[:, None]).T @ design
            hessian[np.diag_indices(len(hessian))] += penalty
            root = cholesky(hessian, lower=True, overwrite_a=True, check_finite=False)
            leverage[:, c] = (solve_triangular(root, design.T, lower=True, check_finite=False) ** 2).sum(axis=0)
        own = probs[:, :, None] * np.eye(n_classes) - probs[:, :, None] * probs[:, None, :]
        system = np.eye(n_classes) - own * leverage[:, None, :]
        step = np.linalg.solve(system, (probs - sample.one_hot)[:, :, None])[:, :, 0]
        logits = logits + leverage * step
        terms = log_softmax(logits)[at, sample.labels]
        if best is not None and terms.mean() <= best.terms.mean():
            break
        best = HeldOut(logits, terms, logits.argmax(axis=1) == sample.labels, 1.0, penalty, 0)
    assert best is not None
    return best


PENALTIES = (1000.0, 100.0, 10.0, 1.0)

HEADS: dict[str, Callable[[FeatureSample, Floats | None], HeldOut]] = {
    "standardized": lambda sample, probs: held_out_ridge(sample),
    "centered": lambda sample, probs: held_out_ridge(sample, standardized=False),
    "unit rows": lambda sample, probs: held_out_ridge(_unit_rows(sample)),
    "signed root": lambda sample, probs: held_out_ridge(_signed_root(sample)),
    "with logits": lambda sample, probs: held_out_ridge(_beside_logits(sample, probs), standardized=False),
    "softmax, 10 folds": lambda sample, probs: held_out_softmax(sample, PENALTIES, 10),
    PROBE: lambda sample, probs: linear_probe.held_out_probe(sample),
    "softmax, approximately left out": lambda sample, probs: left_out_approximately(sample, PENALTIES),
}
