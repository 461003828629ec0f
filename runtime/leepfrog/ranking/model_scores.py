"""A model's scores from its outputs in the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.execution.outputs import ModelOutputs
from leepfrog.inference.model import ModelFile
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.joint_mass import JointMass, Shard, leep_scores
from leepfrog.scoring.parallel import scored
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.scoring.subsample import MOST_IMAGES, drawn_in_proportion, spread_terms


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """A model with its scores on the images used.

    Attributes:
        outputs: the model and what it put out.
        scores: by name.
        first_classes: its most probable source class of each image, [N].
    """

    outputs: ModelOutputs
    scores: dict[str, Score]
    first_classes: NDArray[np.int64]

    @property
    def model(self) -> ModelFile:
        """The model's file."""
        return self.outputs.model


def score_model(outputs: ModelOutputs, further: Sequence[Definition], threads: int) -> ScoredModel:
    """LEEP, leave-one-out LEEP and further scores of a model.

    Args:
        outputs: the model's.
        further: scores beside the two.
        threads: cores to use.
    """
    scores, first_classes = _leep(outputs)
    return ScoredModel(outputs, scores | _further(outputs, further, threads), first_classes)


def _further(outputs: ModelOutputs, further: Sequence[Definition], threads: int) -> dict[str, Score]:
    """The scores of a model that read its outputs as a whole."""
    if not further:
        return {}
    used = np.flatnonzero(outputs.images.kept)
    labels = outputs.images.labels
    drawn = drawn_in_proportion(labels, MOST_IMAGES)
    reads = {definition.reads for definition in further}
    sample = Sample.of(
        labels[drawn],
        probs=outputs.probs(used[drawn]) if "probs" in reads else None,
        features=outputs.features(used[drawn]) if "features" in reads else None,
    )
    scores = scored(sample, further, threads)
    return {name: spread_terms(score, drawn, len(labels)) for name, score in scores.items()}


def _leep(outputs: ModelOutputs) -> tuple[dict[str, Score], NDArray[np.int64]]:
    """LEEP and leave-one-out LEEP of a model, and its first class of each image; a shard in memory at a time."""
    images = outputs.images.images

    def shards() -> Iterator[Shard]:
        for rows in outputs.rows():
            yield rows.probs, images.labels[rows.positions]

    mass: JointMass | None = None
    positions, first = [], []
    for rows in outputs.rows():
        mass = mass or JointMass.empty(len(images.classes), rows.probs.shape[1])
        mass.add(rows.probs, images.labels[rows.positions])
        positions.append(rows.positions)
        first.append(rows.probs.argmax(axis=1))
    if mass is None:
        raise outputs.none_left()
    both = leep_scores(mass, shards)
    # The cache's order is not the images'.
    order = np.argsort(np.concatenate(positions))
    scores = {s.name: dataclasses.replace(s, terms=s.terms[order]) for s in (both.leep, both.leep_loo)}
    return scores, np.concatenate(first)[order]
