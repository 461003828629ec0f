"""Notes on missing scores and on their limits for the given images."""

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
    """Return, for each output, the names of the models that lack it."""
    models = list(models)
    return {kind: [model.name for model in models if kind not in model.metadata.outputs] for kind in OUTPUTS}


def absent_scores(without: Mapping[str, Sequence[str]], scores: Sequence[Definition]) -> Iterator[str]:
    """Yield a note for each missing output, naming the affected scores and models.

    Args:
        without: names of the models that lack an output, by output.
        scores: definitions of the computed scores.
    """
    for kind, names in without.items():
        absent = [definition.name for definition in scores if definition.reads == kind]
        if names and absent:
            yield f"no {', '.join(absent)} without {OUTPUTS[kind]}: {', '.join(map(printable, names))}"


def thin_data(
    counts: NDArray[np.int64], rule: Rule, scores: Sequence[Definition], with_leep: bool, what: str = "images"
) -> Iterator[str]:
    """Yield notes on classes with a single image and on scores computed from a subsample.

    Args:
        counts: number of images per class.
        rule: criterion that decides the order.
        scores: definitions of the computed scores.
        with_leep: true if leave-one-out LEEP is computed for any model.
        what: word for the examples, such as "images" or "rows".
    """
    if once := int(np.count_nonzero(counts == 1)):
        if with_leep:
            yield f"{once} class(es) have a single image; its leave-one-out LEEP term is only the floor value"
        if rule.of_goal is not None:
            yield f"{once} class(es) have a single image, which no held-out head can classify correctly"
    further = [definition.name for definition in scores if definition.name not in ALWAYS]
    if further and counts.sum() > MOST_IMAGES:
        yield f"{', '.join(further)}: computed from a stratified sample of {MOST_IMAGES:,} {what}"
