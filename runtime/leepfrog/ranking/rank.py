"""Rank models on a labelled set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import DataSetError, UsageError
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from leepfrog.images.preprocess import normalise, resize_and_crop
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.device import available_threads, environment, providers
from leepfrog.inference.local import find_models
from leepfrog.inference.model import ModelFile, Session
from leepfrog.inference.outputs import Outputs, infer
from leepfrog.inference.stream import seconds_per_image
from leepfrog.progress import Progress, Silent
from leepfrog.ranking.result import RankedModel, Ranking, SkippedImage
from leepfrog.scoring.leep import JointMass, Shard, leep, leep_loo, leep_scores
from leepfrog.scoring.registry import SCORES, Definition, chosen_scores
from leepfrog.scoring.sample import Sample

ALWAYS = ("leep_loo", "leep")

# Two standard errors: a coin's chance of 1 in 20 to call equals apart.
TIE_ERRORS = 2.0


@dataclasses.dataclass
class _Judged:
    """A model's row, and its per-image terms [N] by score (NaN for images left out)."""

    model: RankedModel
    terms: dict[str, NDArray[np.float64]]


def rank(
    data: ImageSet | str | Path,
    models: Sequence[str | Path] = (),
    *,
    by: str = "leep_loo",
    scores: Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Ranking:
    """Rank models by how well they are expected to transfer to labelled images, without training anything.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        models: names, wildcards, sources or files (see `find_models`); empty for all exported models.
        by: the score that decides the order, see `leepfrog.scoring.registry`.
        scores: further scores by name, or "all"; LEEP and leave-one-out LEEP are always there.
        device: "cpu" or "cuda".
        threads: cores to use; None for all that this process may use.
        strict: make a bad image an error rather than skip it.
        progress: who is told how far the work is.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images takes no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    if by not in SCORES:
        raise UsageError(f"score {by!r} is unknown; one of {', '.join(SCORES)}")
    further = [each for each in chosen_scores([*scores, by]) if each.name not in ALWAYS]
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    providers(device)  # fail before any work where the device is absent
    progress = progress or Silent()
    threads = threads or available_threads()
    chosen = find_models(models)
    images = data if isinstance(data, ImageSet) else find_images(data)
    warming = threading.Thread(target=_warm_up, daemon=True)
    warming.start()

    outputs = infer(images, chosen, device, threads, strict, progress)
    kept, counts = outputs.kept, outputs.counts
    warming.join()
    rows: list[_Judged] = []
    progress.start("scoring", len(chosen))
    for model, cache, n_inferred in zip(chosen, outputs.caches, outputs.n_inferred, strict=True):
        seconds = cache.timing(threads)
        if seconds is None:
            seconds = _measure(model, device, threads, images, int(np.argmax(kept)))
            cache.keep_timing(threads, seconds)
        judged = _row(model, cache, outputs, seconds, n_inferred)
        _add_scores(judged, further, outputs, len(rows))
        rows.append(judged)
        progress.advance(1)
    rows.sort(key=lambda judged: -judged.model.scores[by].value)
    best = rows[0]
    return Ranking(
        data=images.name,
        classes={name: int(n) for name, n in zip(images.classes, counts, strict=True)},
        n_images=int(kept.sum()),
        skipped=tuple(SkippedImage(images.images[i].name, reason) for i, reason in sorted(outputs.bad.items())),
        notes=(*images.notes, *outputs.notes(), *_notes(images, counts), *_untold(by, best)),
        ranked_by=by,
        models=tuple(
            dataclasses.replace(judged.model, rank=n, tied_with_best=_tied(best, judged, by, kept))
            for n, judged in enumerate(rows, start=1)
        ),
        environment=environment(device, threads),
    )


def tied(best: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two models' per-image terms [N] leave open which is better.

    The images are the same, so the difference is judged pair by pair: tied if its mean is within TIE_ERRORS of its own
    standard errors. The conditionals that the terms are read from are taken as given.
    """
    difference = best - other
    if len(difference) < 2:
        return True
    return bool(difference.mean() <= TIE_ERRORS * difference.std(ddof=1) / math.sqrt(len(difference)))


def _row(
    model: ModelFile,
    cache: OutputCache,
    outputs: Outputs,
    seconds: float,
    n_inferred: int,
) -> _Judged:
    images = outputs.images
    widths, order = [], []

    def shards() -> Iterator[Shard]:
        for rows in cache.rows(outputs.positions):
            widths.append((rows.probs.shape[1], rows.features.shape[1]))
            order.append(rows.positions)
            yield rows.probs, images.labels[rows.positions]

    mass: JointMass | None = None
    for probs, labels in shards():
        mass = mass or JointMass.empty(len(images.classes), probs.shape[1])
        mass.add(probs, labels)
    if mass is None:
        raise DataSetError(f"{images.name}: no image could be used")
    order.clear()
    found = leep_scores(mass, shards())
    at = np.concatenate(order)
    terms = {name: np.full(len(images), np.nan) for name in ALWAYS}
    terms["leep"][at], terms["leep_loo"][at] = found.leep_terms, found.leep_loo_terms
    n_source, n_features = widths[0]
    ranked = RankedModel(
        rank=0,
        tied_with_best=False,
        name=model.name,
        source=printable(model.metadata.source),
        licence=printable(model.metadata.licence),
        path=printable(model.path),
        sha256=model.sha256,
        scores={"leep": found.leep, "leep_loo": found.leep_loo},
        n_source=n_source,
        n_features=n_features,
        n_parameters=model.metadata.n_parameters,
        top1=model.metadata.top1,
        size_bytes=model.size,
        seconds_per_image=seconds,
        n_inferred=n_inferred,
    )
    return _Judged(ranked, terms)


def _add_scores(judged: _Judged, wanted: Sequence[Definition], outputs: Outputs, model: int) -> None:
    """Scores beyond LEEP, which read a model's outputs as a whole."""
    if not wanted:
        return
    kept, reads = outputs.kept, {each.reads for each in wanted}
    sample = Sample.of(
        outputs.images.labels[kept],
        probs=outputs.probs(model)[kept] if "probs" in reads else None,
        features=outputs.features(model)[kept] if "features" in reads else None,
    )
    for each in wanted:
        score = each.of(sample)
        judged.model.scores[each.name] = score
        if score.terms is not None:
            judged.terms[each.name] = np.full(len(kept), np.nan)
            judged.terms[each.name][kept] = score.terms


def _tied(best: _Judged, other: _Judged, by: str, kept: NDArray[np.bool_]) -> bool:
    if by not in best.terms:
        return best is other
    return tied(best.terms[by][kept], other.terms[by][kept])


def _untold(by: str, best: _Judged) -> Iterator[str]:
    if by not in best.terms:
        yield f"{by} is no mean over images: whether models are tied by it is not told"


def _measure(model: ModelFile, device: str, threads: int, images: ImageSet, position: int) -> float:
    """Time a model on one real image, alone on the machine and with all threads, as it would run on the device."""
    spec = model.metadata.preprocess
    _, image = images.images[position].load()
    return seconds_per_image(Session(model, device, threads), normalise(resize_and_crop(image, spec)[None], spec))


def _notes(images: ImageSet, counts: NDArray[np.int64]) -> Iterator[str]:
    once = [name for name, n in zip(images.classes, counts, strict=True) if n == 1]
    if once:
        yield f"{len(once)} class(es) have a single image, for which leave-one-out LEEP can only use its floor"


def _warm_up() -> None:
    """Compile the scores' kernels, or load them from Numba's cache, while images decode."""
    probs, labels = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    with contextlib.suppress(Exception):  # what fails here fails again where it is needed, and is told there
        leep(probs, labels)
        leep_loo(probs, labels)
