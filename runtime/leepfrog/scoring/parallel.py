"""Several scores of one sample at a time, and several models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from leepfrog.scoring.definition import Definition
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score

Model = TypeVar("Model")
Scored = TypeVar("Scored")

# So many images times classes, and a cross-validated head takes about 100 MB.
SIDE_BY_SIDE = 1_000_000


def scored_side_by_side(
    score: Callable[[Model], Scored], models: Iterable[Model], cores: int, n_predictions: int
) -> Iterator[Scored]:
    """What a function that uses one thread gives for each model, in order.

    A model per core, since the scores' matrices are too small to share out; where they are large, one model at a time,
    for memory.

    Args:
        score: the function.
        models: what it takes.
        cores: to use.
        n_predictions: images times classes.
    """
    workers = cores if n_predictions <= SIDE_BY_SIDE else 1
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(score, models)


def compute_scores(sample: Sample, definitions: Sequence[Definition], threads: int) -> dict[str, Score]:
    """Scores by name, in the order of the definitions.

    Each score has a thread, and linear algebra what is left of them: on a few hundred images its matrices are so small
    that sharing one out takes longer than it saves (two to three times as long in all, on two cores).
    """
    if not definitions:
        return {}
    workers = min(threads, len(definitions))
    with threadpool_limits(max(1, threads // workers), user_api="blas"), ThreadPoolExecutor(workers) as pool:
        scores = pool.map(lambda definition: definition.of(sample), definitions)
        return dict(zip([definition.name for definition in definitions], scores, strict=True))
