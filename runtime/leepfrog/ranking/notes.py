"""Notes on scores: which models lack some, and what they can and cannot say of these images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.files import printable
from leepfrog.inference.model import ModelFile
from leepfrog.ranking.decision import Rule
from leepfrog.ranking.model_scores import ALWAYS
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.subsample import MOST_IMAGES

OUTPUTS = {"probs": "probabilities over source classes", "features": "features"}


def lacking(models: Iterable[ModelFile]) -> dict[str, list[str]]:
    """The names of models without an output, by output."""
    models = list(models)
    return {kind: [model.name for model in models if kind not in model.metadata.outputs] for kind in OUTPUTS}


def absent_scores(without: Mapping[str, Sequence[str]], scores: Sequence[Definition]) -> Iterator[str]:
    """A note on each output that models lack, and on the scores that they therefore lack, where there are any.

    Args:
        without: the names of models without an output, by output.
        scores: those that are computed.
    """
    for kind, names in without.items():
        absent = [definition.name for definition in scores if definition.reads == kind]
        if names and absent:
            yield f"no {', '.join(absent)} without {OUTPUTS[kind]}: {', '.join(map(printable, names))}"


def thin_data(
    counts: NDArray[np.int64], rule: Rule, scores: Sequence[Definition], with_leep: bool, what: str = "images"
) -> Iterator[str]:
    """Notes on classes of a single image, and on images too many to read all.

    Args:
        counts: images of each class.
        rule: what decides the order.
        scores: those that are computed.
        with_leep: whether leave-one-out LEEP is among them for any model.
        what: what images are called.
    """
    if once := int(np.count_nonzero(counts == 1)):
        if with_leep:
            yield f"{once} class(es) have a single image, for which leave-one-out LEEP can only use its floor"
        if rule.of_goal is not None:
            yield f"{once} class(es) have a single image, about which no held-out head can be right"
    further = [definition.name for definition in scores if definition.name not in ALWAYS]
    if further and counts.sum() > MOST_IMAGES:
        yield f"{', '.join(further)}: from {MOST_IMAGES:,} of the {what}, each class its share"
