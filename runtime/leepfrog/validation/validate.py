"""Validate scores and baselines on a zoo against accuracies of retrained and few-shot heads on held-out images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from leepfrog.arguments import StrPath, check_seed, several
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import ModelOutputs
from leepfrog.images.dataset import ImageSet
from leepfrog.ranking.baselines import BASELINES, ModelFacts
from leepfrog.ranking.combined import COMBINED
from leepfrog.ranking.decision import Rule, scaled
from leepfrog.ranking.goal_names import GOAL_NAMES, HEAD
from leepfrog.ranking.model_scores import scores_readable_from
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.recorder import Recorder
from leepfrog.receipts.request import ModelsRequest
from leepfrog.results import MEASURED, Result
from leepfrog.scoring.parallel import compute_scores
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import FeatureSample, Sample
from leepfrog.scoring.score import Score
from leepfrog.validation.agreement import Agreement, agreement, chance_spread, mean_agreement
from leepfrog.validation.choices import IMAGES, SHOTS, SPLITS
from leepfrog.validation.holdout import LabelledOutputs, labelled_outputs, split
from leepfrog.validation.transfer_accuracy import few_shot_accuracy, retrained_head

SCHEMA_VERSION = 2
TRUTHS = ("head", "prototype", "mahalanobis")
EPISODES = 50
MOST_SPLITS = 1000


@dataclasses.dataclass(frozen=True)
class ValidatedModel:
    """Measured accuracies and scores of one model.

    Attributes:
        name: name of the model.
        accuracy: mean accuracy over splits, from 0 to 1, by kind of head: "head", "prototype" or
            "mahalanobis".
        scores: mean scores and baselines over splits, by name; None if unknown or if the model lacks the required
            output.
    """

    name: str
    accuracy: dict[str, float]
    scores: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Validation(Result):
    """Agreement of scores with measured transfer accuracies.

    Attributes:
        data: source of the images.
        n_train: number of training images per split, for scores and heads.
        n_test: number of held-out images per split.
        n_classes: number of classes.
        n_splits: number of splits.
        shots: number of images per class for few-shot heads.
        episodes: number of draws of few-shot heads.
        models: models with accuracies and scores, best retrained head first.
        agreements: agreement of each score or baseline with the accuracies, by kind of head and then by name.
        baselines: names of the baselines among the scores.
        chance: standard deviation of the weighted tau of a random score, for this number of models.
        notes: irregularities and how they were handled.
        receipt: record of how the validation was made.

    >>> import leepfrog
    >>> models = ["mobilenet_v2", "efficientnet_lite0"]
    >>> validation = leepfrog.validate("PHOTOS", models, scores="ridge", splits=1)
    >>> agreement = validation.agreements["head"]["ridge"]
    >>> agreement.n, validation.best("head", ["ridge", "parameters"])
    (2, 'ridge')
    """

    kind: ClassVar = "validation"
    schema_version: ClassVar = SCHEMA_VERSION

    data: str = dataclasses.field(metadata=MEASURED)
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
    receipt: Receipt = dataclasses.field(metadata=MEASURED)

    def best(self, truth: str, names: str | Sequence[str]) -> str:
        """Return the name of the best score by the highest weighted tau, then by the lowest regret."""
        agreed = self.agreements[truth]
        return max(several(names), key=lambda name: (_or_worst(agreed[name].weighted_tau), -agreed[name].regret))


@dataclasses.dataclass(frozen=True)
class ValidateRequest(ModelsRequest):
    """Options of a validation.

    Attributes:
        scores: names of the scores, or "all". The expected accuracy for a goal is validated too if all scores that it
            is computed from are included.
        images: maximum number of training images per split.
        splits: number of splits.
        shots: number of images per class for few-shot heads.

    Raises:
        UsageError: a score is unknown or a number is out of range.

    >>> ValidateRequest(scores=("ridge", "knn"), splits=5).as_dict()
    {'scores': ['ridge', 'knn'], 'images': 1000, 'splits': 5, 'shots': 5}
    """

    command: ClassVar = "validate"
    scores: tuple[str, ...] = ("all",)
    images: int = IMAGES
    splits: int = SPLITS
    shots: int = SHOTS

    def __post_init__(self) -> None:
        """Check the scores and the ranges of numbers."""
        chosen_scores(self.scores)
        for name, value, least in (("images", self.images, 4), ("splits", self.splits, 1), ("shots", self.shots, 1)):
            if value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        if self.splits > MOST_SPLITS:
            raise UsageError(f"splits must be at most {MOST_SPLITS:,}, not {self.splits}")
        check_seed(self.seed)

    def run(self, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext) -> Validation:
        """Run the validation.

        Raises:
            UsageError, DataSetError: see `validate`.
        """
        recorder = Recorder(context)
        context = recorder.context
        labelled = labelled_outputs(data, models, context)
        if len(labelled.files) < 2:
            raise UsageError("a validation compares models: give at least 2")
        splits = [split(labelled.labels, self.images, self.seed + s) for s in range(self.splits)]
        scores, truths = _repeated(self, labelled, splits, context)
        chosen = chosen_scores(self.scores)
        names = dict.fromkeys([*(definition.name for definition in chosen), *scores[0][0]])
        repeated: dict[str, list[list[float | None]]] = {
            name: [[_value(of_model, name) for of_model in of_split] for of_split in scores] for name in names
        }
        rivals = [_facts_of(model_outputs) for model_outputs in labelled.outputs]
        repeated |= {
            name: [[baseline(rival) for rival in rivals]] * self.splits for name, baseline in BASELINES.items()
        }
        accuracy = truths.mean(axis=1)
        rows = [
            ValidatedModel(
                file.name,
                dict(zip(TRUTHS, accuracy[m].tolist(), strict=True)),
                {name: _mean([row[m] for row in repetitions]) for name, repetitions in repeated.items()},
            )
            for m, file in enumerate(labelled.files)
        ]
        return Validation(
            data=labelled.data,
            n_train=len(splits[0][0]),
            n_test=len(splits[0][1]),
            n_classes=len(labelled.classes),
            n_splits=self.splits,
            shots=self.shots,
            episodes=EPISODES,
            models=tuple(sorted(rows, key=lambda row: -row.accuracy["head"])),
            agreements={
                truth: {
                    name: mean_agreement([agreement(row, accuracy[:, t].tolist()) for row in repetitions])
                    for name, repetitions in repeated.items()
                }
                for t, truth in enumerate(TRUTHS)
            },
            baselines=tuple(BASELINES),
            chance=chance_spread(len(rows)),
            notes=labelled.notes(chosen),
            receipt=recorder.receipt(self, images=labelled.outputs.hashed, models=labelled.files),
        )


def validate(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath] = (),
    *,
    scores: str | Sequence[str] = ("all",),
    images: int = IMAGES,
    splits: int = SPLITS,
    shots: int = SHOTS,
    seed: int = 0,
    context: RunContext | None = None,
) -> Validation:
    """Compare scores with the transfer accuracies that they should predict, on the given images and models.

    Each split takes half of every class, at most about `images` in total, to score models and to fit heads, and tests
    the heads on the other images. The scores of each split are compared with the accuracies averaged over all splits.

    Args:
        data: same as for `leepfrog.rank`.
        models: same as for `leepfrog.rank`; at least 2.
        scores: one or more names of scores, or "all"; see `ValidateRequest`.
        images: maximum number of training images per split.
        splits: number of splits.
        shots: number of images per class for few-shot heads.
        seed: random seed of splits, folds and episodes.
        context: execution environment; None for the CPU of this machine.

    Raises:
        UsageError: fewer than 2 models, or a number is out of range.
        DataSetError: a class has fewer than 4 usable images.
        LeepfrogError: see `leepfrog.rank`.

    >>> models = ["mobilenet_v2", "efficientnet_lite0"]
    >>> validation = validate("PHOTOS", models, scores=["ridge", "knn"], splits=1)
    >>> validation.n_train, validation.n_test, len(validation.models)
    (24, 24, 2)
    """
    return ValidateRequest(several(scores), images, splits, shots, seed=seed).run(data, models, context or RunContext())


def _repeated(
    request: ValidateRequest,
    labelled: LabelledOutputs,
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    context: RunContext,
) -> tuple[list[list[dict[str, Score]]], NDArray[np.float64]]:
    """Return the scores of each split and model by name, and the accuracies of heads, [models, splits, TRUTHS]."""
    models, chosen = labelled.outputs.models, chosen_scores(request.scores)
    context.progress.start("validating", len(models) * len(splits))
    scores: list[list[dict[str, Score]]] = [[] for _ in splits]
    truths = np.zeros((len(models), len(splits), len(TRUTHS)))
    # Many small fits run in parallel, so multithreaded linear algebra would only oversubscribe the cores.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(context.cores) as pool:
        for m, model_outputs in enumerate(models):
            probs, features = labelled.samples(model_outputs)
            readable = scores_readable_from(chosen, model_outputs.model)
            fits = [features.part(train) for train, _ in splits]
            scores_to_come = [
                pool.submit(compute_scores, Sample(probs and probs.part(train), fit), readable, 1)
                for fit, (train, _) in zip(fits, splits, strict=True)
            ]
            truths_to_come = [
                pool.submit(_truths, fit, features.part(test), request.shots, request.seed + s)
                for s, (fit, (_, test)) in enumerate(zip(fits, splits, strict=True))
            ]
            for s in range(len(splits)):
                truths[m, s] = truths_to_come[s].result()
                scores[s].append(scores_to_come[s].result())
                context.progress.advance(1)
    for s, (train, _) in enumerate(splits):
        scores[s] = _compared(scores[s], labelled.labels[train])
    return scores, truths


def _compared(scores: list[dict[str, Score]], labels: NDArray[np.int64]) -> list[dict[str, Score]]:
    """Return the models' scores, with all relative scores that can be computed from them."""
    scores = scaled(scores, labels)
    rules = {rule.decisive: rule for rule in (*map(Rule, GOAL_NAMES), Rule(HEAD, COMBINED))}
    for rule in rules.values():
        if all(definition.name in of_model for definition in rule.reads for of_model in scores):
            scores = rule.decide(scores, labels).scores
    return scores


def _truths(train: FeatureSample, held: FeatureSample, shots: int, seed: int) -> tuple[float, ...]:
    """Return the accuracies of heads, in the order of TRUTHS."""
    head = retrained_head(train, held.features, held.labels, seed)
    return head.accuracy, *few_shot_accuracy(train, held.features, held.labels, shots, EPISODES, seed)


def _facts_of(model_outputs: ModelOutputs) -> ModelFacts:
    metadata = model_outputs.model.metadata
    return ModelFacts(model_outputs.widths[0], metadata.n_parameters, metadata.top1)


def _value(scores: Mapping[str, Score], name: str) -> float | None:
    return scores[name].value if name in scores else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _or_worst(value: float | None) -> float:
    return -np.inf if value is None else value
