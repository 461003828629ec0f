"""A model's scores from its outputs in the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.execution.outputs import ModelOutputs
from leepfrog.inference.metadata import PROBS_OUTPUT
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
        first_classes: its most probable source class of each image, [N]; None where it has no source classes.
    """

    outputs: ModelOutputs
    scores: dict[str, Score]
    first_classes: NDArray[np.int64] | None

    @property
    def model(self) -> ModelFile:
        """The model's file."""
        return self.outputs.model


def score_model(outputs: ModelOutputs, further: Sequence[Definition], threads: int) -> ScoredModel:
    """LEEP, leave-one-out LEEP and further scores of a model, those that read what it does not put out left out.

    Args:
        outputs: the model's.
        further: scores beside the two.
        threads: cores to use.
    """
    scores, first_classes = _leep(outputs) if outputs.model.metadata.has_probs else ({}, None)
    return ScoredModel(outputs, scores | _further(outputs, readable(further, outputs.model), threads), first_classes)


def readable(scores: Sequence[Definition], model: ModelFile) -> list[Definition]:
    """Those of the scores that read what a model puts out."""
    return [definition for definition in scores if definition.reads in model.metadata.outputs]


def absent_scores(models: Sequence[ModelFile], scores: Sequence[Definition]) -> Iterator[str]:
    """A note on the models that have no probabilities, and the scores that they therefore lack, if there are any."""
    without = [model.name for model in models if not model.metadata.has_probs]
    absent = [definition.name for definition in scores if definition.reads == PROBS_OUTPUT]
    if without and absent:
        yield f"no {', '.join(absent)} without probabilities over source classes: {', '.join(without)}"


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
            assert rows.probs is not None
            yield rows.probs, images.labels[rows.positions]

    mass: JointMass | None = None
    positions, first = [], []
    for rows in outputs.rows():
        assert rows.probs is not None
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
