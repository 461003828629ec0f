"""Trials: n training images of a set, the others for testing; true accuracies and scores of every extractor."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from leepfrog.draws import members_of, shuffled
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.sample import Sample
from leepfrog.validation.transfer_accuracy import few_shot_accuracy, retrained_head
from studies.default_order.heads import HEADS, PROBE

# With more images, heads other than the default's take minutes per extractor.
MOST_FOR_ALL_HEADS = 300
SIZES = (50, 100, 300, 1000)
MOST_TEST, FEWEST_TEST = 4000, 100
SHOTS, EPISODES = 5, 40
# Number of deepest cuts per network that take part; earlier features carry little information.
DEEPEST = 4
# Scores that are computed of whole networks only, unless --slow is given.
SLOW = ("parc", "n_leep")
# Scores whose terms per image may be part of a blend.
BLENDED = ("ridge", "knn", "logme", "few_shot")


def drawn(labels: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of about n training images, stratified with at least two per class, and of the test images."""
    rng = np.random.default_rng([seed, n])
    train = [rows[: max(2, round(n * len(rows) / len(labels)))] for rows in shuffled(members_of(labels), rng)]
    chosen = np.sort(np.concatenate(train))
    rest = rng.permutation(np.setdiff1d(np.arange(len(labels)), chosen))[:MOST_TEST]
    return chosen, np.sort(rest)


def trial(
    features: np.ndarray,
    probs: np.ndarray | None,
    labels: np.ndarray,
    n: int,
    seed: int,
    slow: bool,
    known: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return the true accuracies, scores and terms of candidate heads of one extractor, by name.

    Values that are `known` from an earlier run are not computed again.
    """
    train, test = drawn(labels, n, seed)
    held = features[test].astype(np.float32)
    found = dict(known)

    def fresh() -> Sample:
        """Return a new sample, without sums cached by other scores, for fair timings."""
        return Sample.of(
            labels[train],
            None if probs is None else probs[train].astype(np.float32),
            features[train].astype(np.float32),
        )

    fit = fresh().features
    assert fit is not None
    if "truth/head" not in found:
        right = retrained_head(fit, held, labels[test], seed).correct
        # On all held-out images, and on two halves of them.
        found["truth/head"] = np.array([right.mean(), right[::2].mean(), right[1::2].mean()])
        found["truth/few"] = np.array(few_shot_accuracy(fit, held, labels[test], SHOTS, EPISODES, seed))
    for name, score in SCORES.items():
        absent = score.reads == "probs" and probs is None
        kept = "images/" if name in BLENDED else "part/" if score.among else "score/"
        known_already = any(key.startswith(f"{kept}{name}") for key in found)
        if absent or (name in SLOW and not slow and probs is None) or known_already:
            continue
        sample, begun = fresh(), time.perf_counter()
        shown = score.of(sample)
        found[f"seconds/{name}"] = np.array(time.perf_counter() - begun)
        found[f"score/{name}"] = np.array(shown.value)
        for part in shown.parts.values():
            found[f"part/{name}/{part.name}"] = np.array(part.value)
        if name in BLENDED:
            found[f"images/{name}"] = shown.terms.astype(np.float32)
    for name, head in HEADS.items():
        if f"terms/{name}" in found or (name != PROBE and n > MOST_FOR_ALL_HEADS):
            continue
        sample, begun = fresh(), time.perf_counter()
        held_out = head(sample.features, None if probs is None else probs[train])
        found[f"seconds/{name}"] = np.array(time.perf_counter() - begun)
        found[f"terms/{name}"] = held_out.terms.astype(np.float32)
        found[f"correct/{name}"] = held_out.correct
        found[f"strength/{name}"] = np.array(held_out.strength)
    return found
