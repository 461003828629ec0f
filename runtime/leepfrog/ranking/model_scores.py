"""A model's scores from its outputs in the cache."""

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

# LEEP and leave-one-out LEEP read one shard of outputs at a time: all images count, however many there are.
ALWAYS = ("leep_loo", "leep")


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """A model with its scores on the images used.

    Attributes:
        outputs: the model and what it put out.
        scores: by name.
        first_classes: its most probable source class of each image, [N]; None where it has no source classes, or LEEP
            was not wanted.
    """

    outputs: ModelOutputs
    scores: dict[str, Score]
    first_classes: NDArray[np.int64] | None

    @property
    def model(self) -> ModelFile:
        """The model's file."""
        return self.outputs.model


def score_model(outputs: ModelOutputs, definitions: Sequence[Definition], threads: int) -> ScoredModel:
    """Scores of a model; those that read what it does not put out are left out.

    Args:
        outputs: the model's.
        definitions: the scores.
        threads: cores to use.
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
    """Those of the scores that read what a model puts out."""
    return [definition for definition in scores if definition.reads in model.metadata.outputs]


def further_scores(
    labels: NDArray[np.int64],
    read: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.floating]]],
    definitions: Sequence[Definition],
    threads: int,
) -> dict[str, Score]:
    """Scores that read a model's outputs as a whole, from MOST_IMAGES at most, their terms those of all images.

    Args:
        labels: the images' classes, [N].
        read: by kind of output, what gives those of images at some positions.
        definitions: the scores.
        threads: cores to use.
    """
    drawn = drawn_in_proportion(labels, MOST_IMAGES)
    kinds = dict.fromkeys(definition.reads for definition in definitions)
    sample = Sample.of(labels[drawn], **{kind: read[kind](drawn) for kind in kinds})
    scores = compute_scores(sample, definitions, threads)
    return {name: spread_terms(score, drawn, labels) for name, score in scores.items()}


def _leep(outputs: ModelOutputs) -> tuple[dict[str, Score], NDArray[np.int64]]:
    """LEEP and leave-one-out LEEP of a model, and its first class of each image; a shard in memory at a time."""
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
    # The cache's order is not the images'.
    order = np.argsort(np.concatenate(positions))
    scores = {s.name: dataclasses.replace(s, terms=s.terms[order]) for s in (both.leep, both.leep_loo)}
    return scores, np.concatenate(first)[order]
