"""Several scores of one sample at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

from leepfrog.scoring.definition import Definition
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score


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
