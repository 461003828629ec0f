"""Accuracy of few-shot class means, the head of prototypical networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.draws import members_of, shuffled
from leepfrog.errors import ArrayError
from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.score import Score, mean_of

SHOTS, EPISODES = 5, 40


def few_shot(
    features: ArrayLike, labels: ArrayLike, shots: int = SHOTS, episodes: int = EPISODES, seed: int = 0
) -> Score:
    """Compute the accuracy of the nearest class mean of `shots` images per class, on images that were not drawn.

        few_shot = 1/N sum_i mean_{e: i not in e} [argmin_c |x_i - m_c| = y_i]

    An episode e draws `shots` images of every class, or all except one of a class that has no more, and m_c is their
    mean (J. Snell, K. Swersky, R. Zemel, "Prototypical networks for few-shot learning", 2017). All models see the same
    draws. An image that is drawn in every episode, such as the only one of its class, counts as wrong.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        shots: number of images per class.
        episodes: number of draws.
        seed: random seed of the draws.

    Returns:
        Score with the diagnostic `never_held_out` (number of images drawn in every episode).

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or fewer than one shot or episode.

    >>> few_shot([[0.0], [0.1], [1.0], [1.1]], ["cat", "cat", "dog", "dog"], shots=1).value
    1.0
    """
    return score_few_shot(FeatureSample.of(labels, features), shots, episodes, seed)


@of_features("accuracy of the nearest class mean of 5 images per class", held_out=True)
def score_few_shot(sample: FeatureSample, shots: int = SHOTS, episodes: int = EPISODES, seed: int = 0) -> Score:
    """Compute `few_shot` of a checked sample; raise ArrayError if another argument is invalid."""
    if not (shots >= 1 and episodes >= 1):
        raise ArrayError(f"shots and episodes must be at least 1, not {shots} and {episodes}")
    rng = np.random.default_rng(seed)
    x, members = sample.centered, members_of(sample.labels, sample.n_target)
    right, tries = np.zeros(len(sample)), np.zeros(len(sample))
    for _ in range(episodes):
        drawn = [rows[: max(1, min(shots, len(rows) - 1))] for rows in shuffled(members, rng)]
        means = np.stack([x[rows].mean(axis=0) for rows in drawn])
        held = np.ones(len(sample), bool)
        held[np.concatenate(drawn)] = False
        nearest = (x @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
        right += held & (nearest == sample.labels)
        tries += held
    terms = right / np.maximum(tries, 1)
    diagnostics = {"never_held_out": int((tries == 0).sum())}
    return mean_of("few_shot", terms, sample.labels, sample.features.shape[1], diagnostics)
