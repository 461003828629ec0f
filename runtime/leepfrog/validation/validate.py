"""Which score to trust on a zoo: every score and baseline against retrained and few-shot heads on images held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from leepfrog.arguments import StrPath, check_seed, several
from leepfrog.errors import UsageError
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.device import threads_for
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, Silent
from leepfrog.ranking.baselines import BASELINES, Described
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.take import Stopwatch
from leepfrog.scoring.parallel import scored
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import FeatureSample, Sample
from leepfrog.scoring.score import Score
from leepfrog.validation.agreement import Agreement, agreement, chance_spread, mean_agreement
from leepfrog.validation.choices import IMAGES, SHOTS, SPLITS
from leepfrog.validation.material import gather, split
from leepfrog.validation.truth import few_shot_accuracy, retrained_head

SCHEMA_VERSION = 2
TRUTHS = ("head", "prototype", "mahalanobis")
EPISODES = 50
MOST_SPLITS = 1000


@dataclasses.dataclass(frozen=True)
class ValidatedModel:
    """One model's truth.

    Attributes:
        name: the model's.
        accuracy: by truth (see TRUTHS), mean over splits, from 0 to 1.
        scores: by name, mean over splits; baselines among them, None where not known.
    """

    name: str
    accuracy: dict[str, float]
    scores: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Validation:
    """How well scores foretell the truth.

    Attributes:
        data: where the images came from.
        n_train, n_test: images of a split that scores and heads see, and that are held out.
        n_classes: classes.
        n_splits, shots, episodes: repetitions, and what a few shots are.
        models: best retrained head first.
        agreements: by truth, then by score or baseline.
        baselines: which of these names are baselines.
        chance: standard deviation of Kendall's tau by chance, for so many models.
        notes: what was odd.
        receipt: what made it.
    """

    data: str
    n_train: int
    n_test: int
    n_classes: int
    n_splits: int
    shots: int
    episodes: int
    models: tuple[ValidatedModel, ...]
    agreements: dict[str, dict[str, Agreement]]
    baselines: tuple[str, ...]
    chance: float
    notes: tuple[str, ...]
    receipt: Receipt

    def as_dict(self) -> dict[str, Any]:
        """The validation as JSON-ready values, with its schema's version."""
        found = {"schema_version": SCHEMA_VERSION, "kind": "validation", **dataclasses.asdict(self)}
        return {**found, "receipt": self.receipt.as_dict()}

    def best(self, truth: str, names: str | Sequence[str]) -> str:
        """Of these scores the one to trust: the highest weighted tau, then the least regret."""
        found = self.agreements[truth]
        return max(several(names), key=lambda name: (_or_worst(found[name].weighted_tau), -found[name].regret))


def validate(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath] = (),
    *,
    scores: str | Sequence[str] = ("all",),
    images: int = IMAGES,
    splits: int = SPLITS,
    shots: int = SHOTS,
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
    seed: int = 0,
    cache: StrPath | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Hold scores against what they promise to foretell, on a user's own images and models.

    Each split takes half of every class, at most `images` in all, to score models and to fit heads; the truth is how
    the heads do on the rest. A model's truth is the mean over splits; each split's scores are held against it.

    Args:
        data: as of `leepfrog.rank`.
        models: as of `leepfrog.rank`; at least 2.
        scores: by name, or "all"; with the parts of the default order among them, that is held too.
        images: the most training images of a split.
        splits: repetitions.
        shots: images of a class that few-shot heads see.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: cores to use; None for all.
        strict: make a bad image an error.
        seed: of splits, folds and episodes.
        cache: folder that keeps the models' outputs; None for leepfrog's own.
        progress: who is told how far the work is.

    Raises:
        UsageError: fewer than 2 models, or a number out of range.
        DataSetError: a class with fewer than 4 images.
        LeepfrogError: as of `leepfrog.rank`.
    """
    scores = several(scores)
    chosen = chosen_scores(scores)
    for name, value, least in (("images", images, 4), ("splits", splits, 1), ("shots", shots, 1)):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}")
    if splits > MOST_SPLITS:
        raise UsageError(f"splits must be at most {MOST_SPLITS:,}, not {splits}")
    check_seed(seed)
    progress = Stopwatch(progress or Silent())
    threads = threads_for(device, threads)
    material = gather(data, models, device, threads, strict, progress, cache)
    files = material.files
    if len(files) < 2:
        raise UsageError("a validation compares models: give at least 2")
    parts = [split(material.labels, images, seed + s) for s in range(splits)]
    progress.start("validating", len(files) * splits)
    found: list[list[dict[str, Score]]] = [[] for _ in parts]
    truths = np.zeros((len(files), splits, len(TRUTHS)))
    # Many small fits side by side: linear algebra with threads of its own would only be in their way.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for m in range(len(files)):
            probs, features = material.samples(m)
            fits = [features.part(train) for train, _ in parts]
            scores_to_come = [
                pool.submit(scored, Sample(probs.part(train), fit), chosen, 1)
                for fit, (train, _) in zip(fits, parts, strict=True)
            ]
            truths_to_come = [
                pool.submit(_truths, fit, features.part(test), shots, seed + s)
                for s, (fit, (_, test)) in enumerate(zip(fits, parts, strict=True))
            ]
            for s in range(splits):
                truths[m, s] = truths_to_come[s].result()
                found[s].append(scores_to_come[s].result())
                progress.advance(1)
    if set(PARTS) <= {each.name for each in chosen}:
        for (train, _), models_scores in zip(parts, found, strict=True):
            for own, score in zip(models_scores, combined(models_scores, material.labels[train]), strict=True):
                own[COMBINED] = score
    values = {name: [[own[name].value for own in of_models] for of_models in found] for name in found[0][0]}
    rivals = [_described(file, material.outputs.widths(m)[0]) for m, file in enumerate(files)]
    known = {name: [baseline(rival) for rival in rivals] for name, baseline in BASELINES.items()}
    accuracy = truths.mean(axis=1)
    repeated: dict[str, list[list[float | None]]] = {name: [list(row) for row in rows] for name, rows in values.items()}
    repeated |= {name: [row] * splits for name, row in known.items()}
    agreements = {
        truth: {
            name: mean_agreement([agreement(row, accuracy[:, t].tolist()) for row in repetitions])
            for name, repetitions in repeated.items()
        }
        for t, truth in enumerate(TRUTHS)
    }
    rows = [
        ValidatedModel(
            file.name,
            dict(zip(TRUTHS, accuracy[m].tolist(), strict=True)),
            {name: _mean([row[m] for row in repetitions]) for name, repetitions in repeated.items()},
        )
        for m, file in enumerate(files)
    ]
    return Validation(
        data=material.outputs.images.name,
        n_train=len(parts[0][0]),
        n_test=len(parts[0][1]),
        n_classes=len(material.classes),
        n_splits=splits,
        shots=shots,
        episodes=EPISODES,
        models=tuple(sorted(rows, key=lambda row: -row.accuracy["head"])),
        agreements=agreements,
        baselines=tuple(known),
        chance=chance_spread(len(files)),
        notes=material.notes,
        receipt=progress.receipt(
            "validate",
            {
                "scores": list(scores),
                "images": images,
                "splits": splits,
                "shots": shots,
                "strict": strict,
                "device": device,
            },
            outputs=material.outputs,
            models=files,
            device=device,
            threads=threads,
            seed=seed,
        ),
    )


def _truths(train: FeatureSample, held: FeatureSample, shots: int, seed: int) -> tuple[float, ...]:
    """Accuracies in the order of TRUTHS."""
    head = retrained_head(train, held.features, held.labels, seed)
    return head.accuracy, *few_shot_accuracy(train, held.features, held.labels, shots, EPISODES, seed)


def _described(file: ModelFile, n_source: int) -> Described:
    return Described(n_source, file.metadata.n_parameters, file.metadata.top1)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _or_worst(value: float | None) -> float:
    return -np.inf if value is None else value
