"""Rank models by arrays of their outputs, for any modality and any inference framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.arguments import StrPath, several
from leepfrog.arrays import as_array, class_labels
from leepfrog.errors import ArrayError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.files import printable
from leepfrog.ranking.assembly import standing
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.certainty import certainty_of
from leepfrog.ranking.decision import Rule
from leepfrog.ranking.goal_names import HEAD
from leepfrog.ranking.model_scores import ALWAYS, further_scores
from leepfrog.ranking.notes import absent_scores, thin_data
from leepfrog.ranking.result import Ranking
from leepfrog.ranking.score_files import load_array
from leepfrog.receipts.receipt import ArrayReceipt, Receipt
from leepfrog.receipts.recorder import Recorder, array_receipt, memory_receipt
from leepfrog.receipts.request import Request
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.parallel import scored_side_by_side
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score

KINDS = ("features", "probs")
LABELS = "labels"

Arrays = Mapping[str, ArrayLike]


@dataclasses.dataclass(frozen=True)
class RankArraysRequest(Request):
    """Options of a ranking of arrays.

    Attributes:
        by: score that decides the order; see `leepfrog.RankRequest`.
        goal: what the models are to be used for; see `leepfrog.RankRequest`.
        scores: names of further scores, or "all". LEEP and leave-one-out LEEP are computed for models with `probs`.

    Raises:
        UsageError: a goal or score is unknown.

    >>> import leepfrog
    >>> models = {"a": {"features": [[0.0], [0.1], [1.0], [1.1]]}}
    >>> ranking = leepfrog.rank_arrays(models, [0, 0, 1, 1], by="knn")
    >>> RankArraysRequest.from_dict(ranking.receipt.arguments)
    RankArraysRequest(seed=0, by='knn', goal='head', scores=())
    """

    command: ClassVar = "rank_arrays"
    by: str | None = None
    goal: str = HEAD
    scores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the options."""
        chosen_scores(self.scores)
        _ = self.rule

    @property
    def rule(self) -> Rule:
        """The criterion that decides the order."""
        return Rule(self.goal, self.by)

    @property
    def computed(self) -> list[Definition]:
        """All scores to compute for models that provide the required arrays."""
        return chosen_scores([*ALWAYS, *self.scores, *(definition.name for definition in self.rule.reads)])

    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Ranking:
        """Repeat the ranking; UsageError if the arrays were in memory or the receipt is incomplete."""
        files: dict[str, dict[str, Path]] = {}
        hashes: dict[str, str] = {}
        for name, array in receipt.arrays.items():
            if array.file is None:
                raise UsageError("the arrays were in memory and cannot be loaded again")
            if hashes.setdefault(array.file, array.sha256) != array.sha256:
                raise UsageError(f"two arrays have the same file name, {printable(array.file)}, in different folders")
            model, _, kind = name.rpartition("/")
            files.setdefault(model, {})[kind] = data / array.file
        labels = files.pop("", {}).get(LABELS)
        if labels is None:
            raise UsageError("the receipt records no labels")
        return rank_array_files(files, labels, self, context)


def rank_arrays(
    models: Mapping[str, Arrays],
    labels: ArrayLike,
    *,
    goal: str = HEAD,
    by: str | None = None,
    scores: str | Sequence[str] = (),
    context: RunContext | None = None,
) -> Ranking:
    """Rank models by their outputs for labeled examples of any kind: images, text, sound.

    The estimation of expected accuracies was calibrated on image networks only.

    Args:
        models: arrays of each model by name, `{"features": [N, D], "probs": [N, Z]}`. Either array may be absent if the
            deciding scores do not need it. Rows are the same examples for all models.
        labels: class labels [N], non-negative integers or strings.
        goal: "head", "few-shot" or "finetune"; see `leepfrog.RankRequest` for this and the following options.
        by: score that decides the order; None for the expected accuracy for the goal.
        scores: one or more names of further scores, or "all".
        context: progress listener and number of threads.

    Returns:
        Ranking, best model first, as from `leepfrog.rank`; attributes of model files are empty or None.

    Raises:
        ArrayError: an array is invalid.
        UsageError: no models are given, or one lacks an array that the deciding scores need.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1, 2], 20)
    >>> good, bad = np.eye(3)[labels] + rng.normal(0, 0.2, (60, 3)), rng.normal(0, 1, (60, 3))
    >>> ranking = rank_arrays({"bad": {"features": bad}, "good": {"features": good}}, labels)
    >>> [model.name for model in ranking]
    ['good', 'bad']
    """
    recorder, request = Recorder(context), RankArraysRequest(by, goal, several(scores))
    given, classes = _checked(models), as_array(labels, LABELS)
    receipts = {LABELS: memory_receipt(classes)}
    for name, arrays in given.items():
        receipts |= {f"{name}/{kind}": memory_receipt(array) for kind, array in arrays.items()}
    return _ranked(given, classes, request, receipts, recorder)


def rank_array_files(
    models: Mapping[str, Mapping[str, StrPath]],
    labels: StrPath,
    request: RankArraysRequest,
    context: RunContext | None = None,
) -> Ranking:
    """Rank models by arrays in `.npy` files; see `rank_arrays`.

    Raises:
        ArrayError, UsageError: see `rank_arrays`; or a file cannot be read.
    """
    recorder = Recorder(context)
    arrays = {name: {kind: load_array(path) for kind, path in paths.items()} for name, paths in models.items()}
    receipts = {LABELS: array_receipt(Path(labels))}
    for name, paths in models.items():
        receipts |= {f"{name}/{kind}": array_receipt(Path(path)) for kind, path in paths.items()}
    return _ranked(_checked(arrays), load_array(labels), request, receipts, recorder)


def _checked(models: Mapping[str, Arrays]) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the arrays by model and kind; UsageError if a model has none or one of an unknown kind."""
    if not isinstance(models, Mapping) or not models:
        raise UsageError('models must be a mapping from names to {"features": [N, D], "probs": [N, Z]}')
    checked: dict[str, dict[str, NDArray[Any]]] = {}
    for name, arrays in models.items():
        if not isinstance(name, str) or not isinstance(arrays, Mapping):
            raise UsageError(f'{name!r:.40} must be a name with a mapping {{"features": [N, D], "probs": [N, Z]}}')
        if unknown := [kind for kind in arrays if kind not in KINDS]:
            raise UsageError(f"{printable(name)}: unknown array {unknown[0]!r:.40}; expected 'features' or 'probs'")
        checked[name] = {kind: as_array(arrays[kind], kind) for kind in KINDS if arrays.get(kind) is not None}
        if not checked[name]:
            raise UsageError(f"{printable(name)}: has neither 'features' nor 'probs'")
    return checked


def _ranked(
    models: Mapping[str, Mapping[str, NDArray[Any]]],
    classes: NDArray[Any],
    request: RankArraysRequest,
    receipts: Mapping[str, ArrayReceipt],
    recorder: Recorder,
) -> Ranking:
    rule = request.rule
    for name, arrays in models.items():
        if absent := [definition for definition in rule.reads if definition.reads not in arrays]:
            raise UsageError(f"{printable(name)}: has no {absent[0].reads}, required by {absent[0].name}")
    class_names, labels, counts = np.unique(class_labels(classes), return_inverse=True, return_counts=True)
    recorder.start("scoring", len(models))

    def scored(name: str) -> dict[str, Score]:
        try:
            return _scores(Sample.of(classes, **models[name]), request.computed)
        except ArrayError as error:
            raise ArrayError(f"{printable(name)}: {error}") from None

    scores = []
    for of_model in scored_side_by_side(scored, models, recorder.context.cores, len(labels) * len(counts)):
        scores.append(of_model)
        recorder.advance(1)
    certainty = certainty_of(list(models), rule.decide(scores, labels), labels)
    widths = {name: {kind: array.shape[1] for kind, array in arrays.items()} for name, arrays in models.items()}
    without = {kind: [name for name, arrays in models.items() if kind not in arrays] for kind in KINDS}
    with_leep = len(without["probs"]) < len(models)
    return Ranking(
        data="arrays",
        classes={str(name): int(n) for name, n in zip(class_names, counts, strict=True)},
        n_images=len(labels),
        notes=(
            *absent_scores(without, request.computed),
            *thin_data(counts, rule, request.computed, with_leep, what="rows"),
        ),
        ranked_by=rule.decisive,
        goal=None if rule.of_goal is None else rule.goal,
        budget=Budget(),
        shown=tuple(definition.name for definition in chosen_scores(request.scores)),
        separation=certainty.separation,
        models=tuple(
            standing(certainty, i, widths[name].get("probs"), widths[name].get("features"))
            for i, name in enumerate(certainty.names)
        ),
        drifts=(),
        race=None,
        receipt=recorder.receipt(request, arrays=receipts),
    )


def _scores(sample: Sample, definitions: Sequence[Definition]) -> dict[str, Score]:
    """Return all computable scores: LEEP scores from all rows, others from a subsample if there are very many rows."""
    parts = {kind: part for kind in KINDS if (part := getattr(sample, kind)) is not None}
    readable = [definition for definition in definitions if definition.reads in parts]
    scores = {definition.name: definition.of(sample) for definition in readable if definition.name in ALWAYS}
    further = [definition for definition in readable if definition.name not in ALWAYS]
    if further:
        read = {kind: lambda drawn, kind=kind: getattr(parts[kind], kind)[drawn] for kind in parts}
        scores |= further_scores(sample.labels, read, further, threads=1)
    return scores
