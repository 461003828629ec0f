"""Potential energy decline (PED): overlapping classes push each other apart, as in fine-tuning.

Source: X. Li, Z. Hu, Y. Ge, Y. Shan, L. Duan, "Exploring Model Transferability through the Lens of Potential Energy",
ICCV 2023.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score
from leepfrog.scoring.scores.sfda import score_sfda

# Constants of the authors' code: reach of a class in standard deviations, duration of a step, fraction of the first
# step's movement below which to stop, and maximum number of steps.
REACH, TIME_STEP, EXIT_RATIO, MAX_STEPS = 0.6, 0.1, 0.5, 6
# Minimum divisor of a feature.
LEAST = 1e-3


def ped(features: ArrayLike, labels: ArrayLike) -> Score:
    """Compute SFDA of features whose classes have been pushed apart.

    Two classes whose means are closer than the sum of their reaches push each other apart by

        min(t^2 F / 2, F),  F = max(0.6 R_i + 0.6 R_j - |m_i - m_j|, 0)
        R_c^2 = sum_d var_cd,  t = 0.1

    and each image moves with its class, for at most 6 steps, until all classes together move less than half as far as
    in the first step. For this, features are divided by their standard deviations. (The authors use standard deviations
    on ImageNet's validation images, which are not available here; those on the given images are used instead.)

    Args:
        features: [N, D].
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `n_steps` (number of steps made) and SFDA's `shrinkage`. The standard error treats the
        positions of the classes and the discriminants as fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> separate, mixed = [[0.0], [0.1], [1.0], [1.1]], [[0.0], [1.0], [0.1], [1.1]]
    >>> ped(separate, labels).diagnostics["n_steps"], ped(mixed, labels).diagnostics["n_steps"]
    (0, 6)
    """
    return score_ped(FeatureSample.of(labels, features))


@of_features("SFDA after overlapping classes have pushed each other apart")
def score_ped(sample: FeatureSample) -> Score:
    """Compute `ped` of a checked sample."""
    deviations = sample.centered.std(axis=0)
    scale = np.maximum(deviations, LEAST / sample.unit)
    means = sample.class_means(sample.centered) / scale
    # Classes move as a whole, so their reach does not change.
    apart = sample.centered / scale - means[sample.labels]
    reach = REACH * np.sqrt(sample.class_means(apart**2).sum(axis=1))
    moved, first, n_steps = means, 0.0, 0
    for _ in range(MAX_STEPS):
        push = _push(moved, reach)
        distance = float(np.abs(push).sum())
        first = first or distance
        if not distance > EXIT_RATIO * first:
            break
        moved, n_steps = moved + push, n_steps + 1
    features = sample.x + ((moved - means) * scale)[sample.labels]
    score = score_sfda(FeatureSample(sample.labels, sample.n_target, features * sample.unit))
    return dataclasses.replace(score, name="ped", diagnostics={**score.diagnostics, "n_steps": n_steps})


def _push(means: Floats, reach: Floats) -> Floats:
    """Return the displacement of each class by all others, [C, D]."""
    push = np.zeros_like(means)
    for i, mean in enumerate(means):
        away = mean - means
        distance = np.linalg.norm(away, axis=1)
        force = np.maximum(reach + reach[i] - distance, 0)
        force[distance == 0] = 0  # no direction to push in
        share = np.minimum(TIME_STEP**2 / 2, 1) * force / np.where(distance > 0, distance, 1)
        push[i] = share @ away
    return push
