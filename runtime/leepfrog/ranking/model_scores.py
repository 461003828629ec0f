"""A model's scores from its outputs in the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import DataSetError
from leepfrog.inference.outputs import Outputs
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.joint_mass import JointMass, Shard, leep_scores
from leepfrog.scoring.parallel import scored
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.scoring.subsample import MOST_IMAGES, drawn_in_proportion, spread_terms


def model_scores(
    outputs: Outputs, i: int, further: Sequence[Definition], threads: int
) -> tuple[dict[str, Score], NDArray[np.int64]]:
    """LEEP, leave-one-out LEEP and further scores of a model, and its first source class of each image, [N].

    Args:
        outputs: of all models.
        i: which model.
        further: scores beside the two.
        threads: cores to use.
    """
    found, first = _leep(outputs, i)
    return found | _further(outputs, i, further, threads), first


def _further(outputs: Outputs, i: int, further: Sequence[Definition], threads: int) -> dict[str, Score]:
    """The scores of a model that read its outputs as a whole."""
    if not further:
        return {}
    used = np.flatnonzero(outputs.kept)
    labels = outputs.images.labels[used]
    drawn = drawn_in_proportion(labels, MOST_IMAGES)
    reads = {each.reads for each in further}
    sample = Sample.of(
        labels[drawn],
        probs=outputs.probs(i, used[drawn]) if "probs" in reads else None,
        features=outputs.features(i, used[drawn]) if "features" in reads else None,
    )
    scores = scored(sample, further, threads)
    return {name: spread_terms(score, drawn, len(labels)) for name, score in scores.items()}


def _leep(outputs: Outputs, i: int) -> tuple[dict[str, Score], NDArray[np.int64]]:
    """LEEP and leave-one-out LEEP of a model, and its first class of each image; a shard in memory at a time."""
    images, cache = outputs.images, outputs.caches[i]

    def shards() -> Iterator[Shard]:
        for rows in cache.rows(outputs.positions):
            yield rows.probs, images.labels[rows.positions]

    mass: JointMass | None = None
    positions, first = [], []
    for rows in cache.rows(outputs.positions):
        mass = mass or JointMass.empty(len(images.classes), rows.probs.shape[1])
        mass.add(rows.probs, images.labels[rows.positions])
        positions.append(rows.positions)
        first.append(rows.probs.argmax(axis=1))
    if mass is None:
        raise DataSetError(f"{images.name}: no image could be used")
    found = leep_scores(mass, shards)
    # The cache's order is not the images'.
    order = np.argsort(np.concatenate(positions))
    both = (found.leep, found.leep_loo)
    return {s.name: dataclasses.replace(s, terms=s.terms[order]) for s in both}, np.concatenate(first)[order]
