"""Rank models on a labelled set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath, check_name, several
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.cost import Cost, costs_of
from leepfrog.inference.device import threads_for
from leepfrog.inference.local import find_both
from leepfrog.inference.model import ModelFile
from leepfrog.inference.outputs import Hashed, Outputs, hash_images, infer
from leepfrog.progress import Progress, Silent
from leepfrog.ranking.budget import Budget, pareto_front
from leepfrog.ranking.certainty import certainty_of
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.drift import drifts
from leepfrog.ranking.model_scores import model_scores
from leepfrog.ranking.racing import Race, check_raceable, race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.receipts.take import Stopwatch
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.registry import SCORES, chosen_scores
from leepfrog.scoring.score import Score
from leepfrog.scoring.scores.leep import leep
from leepfrog.scoring.scores.leep_loo import leep_loo
from leepfrog.scoring.subsample import MOST_IMAGES
from leepfrog.scoring.uncertainty import resampled_means

Floats = NDArray[np.float64]

ALWAYS = ("leep_loo", "leep")


def rank(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath] = (),
    *,
    by: str = COMBINED,
    scores: str | Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    budget: Budget | None = None,
    racing: bool = False,
    measure_again: bool = False,
    cache: StrPath | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Rank models by how well they are expected to transfer to labelled images, without training anything.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        models: one or several names, wildcards, sources or files (see `find_models`); empty for all exported models.
        by: the score that decides the order: "combined" (see `leepfrog.ranking.combined`) or one of
            `leepfrog.scoring.registry`.
        scores: one or several further scores by name, or "all"; LEEP, leave-one-out LEEP and what is combined are
            always there.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: cores to use; None for all that this process may use.
        batch_size: images in one run of a model; None for what suits the device.
        strict: make a bad image an error rather than skip it.
        budget: the most that a model may cost; those that cost more are marked, not left out.
        racing: models clearly behind on some of the images do not see the others (see `leepfrog.ranking.racing`).
        measure_again: measure costs anew rather than take those of an earlier run.
        cache: folder that keeps the models' outputs; None for leepfrog's own.
        progress: who is told how far the work is.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images takes no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    check_name("score", by, (COMBINED, *SCORES))
    scores = several(scores)
    wanted = [*scores, *(PARTS if by == COMBINED else (by,))]
    further = [each for each in chosen_scores(wanted) if each.name not in ALWAYS]
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}")
    threads = threads_for(device, threads)
    if not isinstance(budget, Budget | None):
        raise UsageError(f"budget must be a leepfrog.Budget, not {type(budget).__name__}")
    if racing:
        check_raceable(by)
    progress, budget = Stopwatch(progress or Silent()), budget or Budget()
    images, chosen = find_both(data, models)
    warming = threading.Thread(target=_warm_up, daemon=True)
    warming.start()

    hashed = hash_images(images, threads, strict, progress, cache)
    run = _Run(hashed, by, device, threads, batch_size, strict, measure_again, cache, progress, warming)
    raced, everyone = None, chosen
    if racing:
        chosen, raced = run.race(chosen, budget)
    outputs = run.infer(hashed, chosen)
    kept, counts = outputs.kept, outputs.counts
    run.measure(chosen)
    rows: list[RankedModel] = []
    first_classes: list[NDArray[np.int64]] = []
    progress.start("scoring", len(chosen))
    for i, model in enumerate(chosen):
        found, first = model_scores(outputs, i, further, threads)
        first_classes.append(first)
        rows.append(_row(model, outputs, i, found, run, budget))
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
        notes=(*images.notes, *outputs.notes(), *_notes(images, counts, further)),
        ranked_by=by,
        budget=budget,
        shown=tuple(each.name for each in chosen_scores(scores)),
        separation=sure.separation,
        models=tuple(
            dataclasses.replace(
                row,
                rank=n,
                group=group,
                tied_with=tuple(rows[i].name for i in ties),
                probability_best=chance,
                scores=scores,
                on_front=row.sha256 in best,
            )
            for n, (row, group, ties, chance, scores) in enumerate(
                zip(rows, sure.groups, sure.tied_with, sure.probability_best, sure.scores, strict=True), start=1
            )
        ),
        drifts=tuple(changed),
        race=raced,
        receipt=progress.receipt(
            "rank",
            {
                "by": by,
                "scores": list(scores),
                "strict": strict,
                "budget": dataclasses.asdict(budget),
                "racing": racing,
                "device": device,
                "batch_size": batch_size,
            },
            outputs=outputs,
            models=everyone,
            device=device,
            threads=threads,
        ),
    )


@dataclasses.dataclass
class _Run:
    """What inference of one ranking needs throughout, how often each model ran, and the caches it filled."""

    hashed: Hashed
    by: str
    device: str
    threads: int
    batch_size: int | None
    strict: bool
    measure_again: bool
    cache: StrPath | None
    progress: Progress
    warming: threading.Thread
    n_inferred: dict[str, int] = dataclasses.field(default_factory=dict)
    opened: dict[str, OutputCache] = dataclasses.field(default_factory=dict)
    costs: dict[str, Cost] = dataclasses.field(default_factory=dict)

    def infer(self, hashed: Hashed, models: Sequence[ModelFile]) -> Outputs:
        outputs = infer(
            hashed, models, self.device, self.threads, self.strict, self.progress,
            batch_size=self.batch_size, opened=self.opened, cache=self.cache,
        )  # fmt: skip
        for model, n in zip(models, outputs.n_inferred, strict=True):
            self.n_inferred[model.sha256] = self.n_inferred.get(model.sha256, 0) + n
        return outputs

    def measure(self, models: Sequence[ModelFile]) -> None:
        """Put the models' costs into `costs`, each once in a run, while this process does nothing else."""
        self.warming.join()
        missing = [model for model in models if model.sha256 not in self.costs]
        if missing:
            found = costs_of(missing, self.device, self.threads, self.progress, measure_again=self.measure_again)
            self.costs |= {model.sha256: cost for model, cost in zip(missing, found, strict=True)}

    def race(self, models: Sequence[ModelFile], budget: Budget) -> tuple[list[ModelFile], Race]:
        """The models that are left when those outside of the budget or clearly behind are gone, and what happened."""
        broken: dict[str, tuple[str, ...]] = {}
        if budget != Budget():
            self.measure(models)
            # A model that is over a limit only by a value in doubt may still be the best: it races.
            for model in models:
                cost = self.costs[model.sha256]
                limits = budget.exceeded(cost, model.size)
                broken[model.sha256] = limits if set(limits) - set(cost.doubtful) else ()
        inside = [model for model in models if not broken.get(model.sha256)]
        if not inside:
            raise UsageError("no model is within the budget, so none can race; rank without --race shows them all")
        positions = np.sort([i for at in self.hashed.positions.values() for i in at]).astype(np.int64)
        deciding = chosen_scores(PARTS if self.by == COMBINED else (self.by,))
        labels = self.hashed.images.labels

        def judge(alive: list[int], sample: NDArray[np.int64]) -> tuple[list[Floats], NDArray[np.int64]]:
            outputs = self.infer(self.hashed.part(positions[sample]), [inside[i] for i in alive])
            found = [model_scores(outputs, i, deciding, self.threads)[0] for i in range(len(alive))]
            classes = labels[outputs.kept]
            if self.by == COMBINED:
                return [score.terms for score in combined(found, classes)], classes
            return [scores[self.by].terms for scores in found], classes

        left, raced = race([model.name for model in inside], labels[positions], judge)
        outside = tuple((model.name, broken[model.sha256]) for model in models if model not in inside)
        return [inside[i] for i in left], dataclasses.replace(raced, outside=outside)


def _row(
    model: ModelFile, outputs: Outputs, i: int, scores: dict[str, Score], run: _Run, budget: Budget
) -> RankedModel:
    """A model's row, its place not yet known."""
    cost = run.costs[model.sha256]
    n_source, n_features = outputs.widths(i)
    return RankedModel(
        rank=0,
        group=0,
        tied_with=(),
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
        n_inferred=run.n_inferred[model.sha256],
    )


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
