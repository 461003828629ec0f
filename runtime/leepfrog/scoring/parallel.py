"""Parallel computation of several scores of one sample, and of several models."""

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

# Number of images times classes for which a cross-validated head takes about 100 MB.
SIDE_BY_SIDE = 1_000_000


def scored_side_by_side(
    score: Callable[[Model], Scored], models: Iterable[Model], cores: int, n_predictions: int
) -> Iterator[Scored]:
    """Yield the results of a single-threaded function for each model, in order.

    Each core processes one model, since the scores' matrices are too small for multithreading. If they are large,
    models are processed one at a time to limit memory.

    Args:
        score: function of one model.
        models: inputs of the function.
        cores: number of cores to use.
        n_predictions: number of images times classes.
    """
    workers = cores if n_predictions <= SIDE_BY_SIDE else 1
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(score, models)


def compute_scores(sample: Sample, definitions: Sequence[Definition], threads: int) -> dict[str, Score]:
    """Compute scores of one sample, and return them by name, in the order of the definitions.

    Each score runs in its own thread; linear algebra gets the threads that are left. With a few hundred images, the
    matrices are so small that multithreaded linear algebra costs more than it saves (two to three times the total time
    on two cores).
    """
    if not definitions:
        return {}
    workers = min(threads, len(definitions))
    with threadpool_limits(max(1, threads // workers), user_api="blas"), ThreadPoolExecutor(workers) as pool:
        scores = pool.map(lambda definition: definition.of(sample), definitions)
        return dict(zip([definition.name for definition in definitions], scores, strict=True))
