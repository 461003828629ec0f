"""Score a model from its cached outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.execution.outputs import ModelOutputs
from leepfrog.inference.model import ModelFile
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.joint_mass import JointMass, Shard, leep_scores
from leepfrog.scoring.parallel import compute_scores
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.scoring.subsample import MOST_IMAGES, drawn_in_proportion, spread_terms

# LEEP and leave-one-out LEEP read outputs shard by shard, so they use all images, however many there are.
ALWAYS = ("leep_loo", "leep")


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """A model with its scores on the images used.

    Attributes:
        outputs: outputs of the model.
        scores: scores by name.
        first_classes: index of the most probable source class of each image, [N]; None if the model has no source
            classes or LEEP was not requested.
    """

    outputs: ModelOutputs
    scores: dict[str, Score]
    first_classes: NDArray[np.int64] | None

    @property
    def model(self) -> ModelFile:
        """The model file."""
        return self.outputs.model


def score_model(outputs: ModelOutputs, definitions: Sequence[Definition], threads: int) -> ScoredModel:
    """Score a model, omitting scores whose required output it does not provide.

    Args:
        outputs: outputs of the model.
        definitions: definitions of the scores.
        threads: number of cores to use.
    """
    names = {definition.name for definition in definitions}
    scores, first_classes = {}, None
    if outputs.model.metadata.has_probs and names & set(ALWAYS):
        both, first_classes = _leep(outputs)
        scores = {name: score for name, score in both.items() if name in names}
    further = [
        definition for definition in scores_readable_from(definitions, outputs.model) if definition.name not in ALWAYS
    ]
    if further:
        used, labels = np.flatnonzero(outputs.hashed.used), outputs.hashed.labels
        read = {
            "probs": lambda drawn: outputs.probs(used[drawn]),
            "features": lambda drawn: outputs.features(used[drawn]),
        }
        scores |= further_scores(labels, read, further, threads)
    return ScoredModel(outputs, scores, first_classes)


def scores_readable_from(scores: Sequence[Definition], model: ModelFile) -> list[Definition]:
    """Return the scores whose required output a model provides."""
    return [definition for definition in scores if definition.reads in model.metadata.outputs]


def further_scores(
    labels: NDArray[np.int64],
    read: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.floating]]],
    definitions: Sequence[Definition],
    threads: int,
) -> dict[str, Score]:
    """Compute scores that need all outputs in memory, from at most MOST_IMAGES images, with terms for all images.

    Args:
        labels: class index of each image, [N].
        read: functions that return the outputs at the given image positions, by kind of output.
        definitions: definitions of the scores.
        threads: number of cores to use.
    """
    drawn = drawn_in_proportion(labels, MOST_IMAGES)
    kinds = dict.fromkeys(definition.reads for definition in definitions)
    sample = Sample.of(labels[drawn], **{kind: read[kind](drawn) for kind in kinds})
    scores = compute_scores(sample, definitions, threads)
    return {name: spread_terms(score, drawn, labels) for name, score in scores.items()}


def _leep(outputs: ModelOutputs) -> tuple[dict[str, Score], NDArray[np.int64]]:
    """Return LEEP, leave-one-out LEEP and the most probable class of each image, with one shard in memory at a time."""
    images = outputs.hashed.image_set

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
    # Restore the order of the images: the cache has its own.
    order = np.argsort(np.concatenate(positions))
    scores = {s.name: dataclasses.replace(s, terms=s.terms[order]) for s in (both.leep, both.leep_loo)}
    return scores, np.concatenate(first)[order]
