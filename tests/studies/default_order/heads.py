"""Candidates for what tells a retrained head's accuracy: held-out predictions of cheap heads on views of features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.scores.ridge import HeldOut, held_out_ridge

Floats = np.ndarray


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
    # Together they weigh as much as the features do.
    share = np.sqrt(sample.x.var(axis=0).sum() / max(logits.var(axis=0).sum(), 1e-12))
    return _changed(sample, np.hstack([sample.x, share * logits]))


HEADS: dict[str, Callable[[FeatureSample, Floats | None], HeldOut]] = {
    "standardized": lambda sample, probs: held_out_ridge(sample),
    "centered": lambda sample, probs: held_out_ridge(sample, standardized=False),
    "unit rows": lambda sample, probs: held_out_ridge(_unit_rows(sample), standardized=False),
    "unit rows, standardized": lambda sample, probs: held_out_ridge(_unit_rows(sample)),
    "signed root": lambda sample, probs: held_out_ridge(_signed_root(sample), standardized=False),
    "signed root, standardized": lambda sample, probs: held_out_ridge(_signed_root(sample)),
    "with logits": lambda sample, probs: held_out_ridge(_beside_logits(sample, probs), standardized=False),
}
