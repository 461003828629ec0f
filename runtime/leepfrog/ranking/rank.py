"""Rank models on a labelled set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import DataSetError, UsageError
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from leepfrog.inference.cost import Cost, measure
from leepfrog.inference.device import available_threads, environment, providers
from leepfrog.inference.local import find_models
from leepfrog.inference.model import ModelFile
from leepfrog.inference.outputs import Outputs, infer
from leepfrog.progress import Progress, Silent
from leepfrog.ranking.budget import Budget, pareto_front
from leepfrog.ranking.certainty import certainty_of
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.drift import drifts
from leepfrog.ranking.result import RankedModel, Ranking, SkippedImage
from leepfrog.scoring.drawn import drawn_in_proportion, spread_terms
from leepfrog.scoring.leep import JointMass, Shard, leep, leep_loo, leep_scores
from leepfrog.scoring.registry import SCORES, Definition, chosen_scores
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.scoring.together import scored
from leepfrog.scoring.uncertainty import resampled_means

ALWAYS = ("leep_loo", "leep")

# Scores that need a model's outputs as a whole take this many images at most: their errors are small by then, and
# features of more are gigabytes.
MOST_IMAGES = 20_000


def rank(
    data: ImageSet | str | Path,
    models: Sequence[str | Path] = (),
    *,
    by: str = COMBINED,
    scores: Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Rank models by how well they are expected to transfer to labelled images, without training anything.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        models: names, wildcards, sources or files (see `find_models`); empty for all exported models.
        by: the score that decides the order: "combined" (see `leepfrog.ranking.combined`) or one of
            `leepfrog.scoring.registry`.
        scores: further scores by name, or "all"; LEEP, leave-one-out LEEP and what is combined are always there.
        device: "cpu" or "cuda".
        threads: cores to use; None for all that this process may use.
        strict: make a bad image an error rather than skip it.
        budget: the most that a model may cost; those that cost more are marked, not left out.
        progress: who is told how far the work is.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images takes no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    if by != COMBINED and by not in SCORES:
        raise UsageError(f"score {by!r} is unknown; one of {COMBINED}, {', '.join(SCORES)}")
    wanted = [*scores, *(PARTS if by == COMBINED else (by,))]
    further = [each for each in chosen_scores(wanted) if each.name not in ALWAYS]
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    providers(device)  # fail before any work where the device is absent
    progress, budget = progress or Silent(), budget or Budget()
    threads = threads or available_threads()
    chosen = find_models(models)
    images = data if isinstance(data, ImageSet) else find_images(data)
    warming = threading.Thread(target=_warm_up, daemon=True)
    warming.start()

    outputs = infer(images, chosen, device, threads, strict, progress)
    kept, counts = outputs.kept, outputs.counts
    warming.join()
    rows: list[RankedModel] = []
    first_classes: list[NDArray[np.int64]] = []
    progress.start("scoring", len(chosen))
    for i, (model, cache) in enumerate(zip(chosen, outputs.caches, strict=True)):
        cost = cache.cost(threads)
        if cost is None:
            cost = measure(model, device, threads)
            cache.keep_cost(cost)
        found, first = _leep(outputs, i)
        first_classes.append(first)
        found |= _further(outputs, i, further, threads)
        rows.append(_row(model, outputs, i, found, cost, budget))
        progress.advance(1)
    labels = images.labels[kept]
    if by == COMBINED:
        for row, score in zip(rows, combined([row.scores for row in rows], labels), strict=True):
            row.scores[COMBINED] = score
    changed = drifts(rows, first_classes, labels, by)
    rows.sort(key=lambda row: -row.scores[by].value)
    fitting = [row for row in rows if not row.outside]
    front = pareto_front([row.scores[by].value for row in fitting], [row.cost.latency for row in fitting])
    best = {row.sha256 for row, on_front in zip(fitting, front, strict=True) if on_front}
    sure = certainty_of([row.name for row in rows], [row.scores for row in rows], labels, by)
    return Ranking(
        data=images.name,
        classes={name: int(n) for name, n in zip(images.classes, counts, strict=True)},
        n_images=int(kept.sum()),
        skipped=tuple(SkippedImage(images.images[i].name, reason) for i, reason in sorted(outputs.bad.items())),
        notes=(*images.notes, *outputs.notes(), *_notes(images, counts, further)),
        ranked_by=by,
        budget=budget,
        shown=tuple(each.name for each in chosen_scores(scores)),
        separation=sure.separation,
        models=tuple(
            dataclasses.replace(
                row, rank=n, group=group, probability_best=chance, scores=scores, on_front=row.sha256 in best
            )
            for n, (row, group, chance, scores) in enumerate(
                zip(rows, sure.groups, sure.probability_best, sure.scores, strict=True), start=1
            )
        ),
        drifts=tuple(changed),
        environment=environment(device, threads),
    )


def _further(outputs: Outputs, i: int, further: Sequence[Definition], threads: int) -> dict[str, Score]:
    """The scores of a model that read its outputs as a whole."""
    if not further:
        return {}
    kept = outputs.kept
    labels = outputs.images.labels[kept]
    drawn = drawn_in_proportion(labels, MOST_IMAGES)
    reads = {each.reads for each in further}
    sample = Sample.of(
        labels[drawn],
        probs=outputs.probs(i)[kept][drawn] if "probs" in reads else None,
        features=outputs.features(i)[kept][drawn] if "features" in reads else None,
    )
    scores = scored(sample, further, threads)
    return {name: spread_terms(score, drawn, len(labels)) for name, score in scores.items()}


def _row(
    model: ModelFile, outputs: Outputs, i: int, scores: dict[str, Score], cost: Cost, budget: Budget
) -> RankedModel:
    """A model's row, its place not yet known."""
    n_source, n_features = outputs.widths(i)
    return RankedModel(
        rank=0,
        group=0,
        probability_best=0.0,
        name=model.name,
        source=printable(model.metadata.source),
        licence=printable(model.metadata.licence),
        path=printable(model.path),
        sha256=model.sha256,
        scores=scores,
        n_source=n_source,
        n_features=n_features,
        n_parameters=model.metadata.n_parameters,
        top1=model.metadata.top1,
        size_bytes=model.size,
        macs=model.metadata.macs,
        cost=cost,
        outside=budget.exceeded(cost, model.size),
        on_front=False,
        variant=model.metadata.variant,
        n_inferred=outputs.n_inferred[i],
    )


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


def _notes(images: ImageSet, counts: NDArray[np.int64], further: Sequence[Definition]) -> Iterator[str]:
    once = [name for name, n in zip(images.classes, counts, strict=True) if n == 1]
    if once:
        yield f"{len(once)} class(es) have a single image, for which leave-one-out LEEP can only use its floor"
    if further and counts.sum() > MOST_IMAGES:
        names = ", ".join(each.name for each in further)
        yield f"{names}: from {MOST_IMAGES:,} of the images, each class its share"


def _warm_up() -> None:
    """Compile the scores' kernels, or load them from Numba's cache, while images decode."""
    probs, labels = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    with contextlib.suppress(Exception):  # what fails here fails again where it is needed, and is told there
        leep(probs, labels)
        resampled_means(leep_loo(probs, labels).terms[:, None], labels, replicates=1)
