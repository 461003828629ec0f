"""Repeat the command recorded in a receipt."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from leepfrog import paths
from leepfrog.arguments import StrPath, did_you_mean
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.files import printable
from leepfrog.gate.baseline import Baseline, Replayable
from leepfrog.inference.choices import KEPT
from leepfrog.inference.model_lookup import exported, find_models
from leepfrog.ranking.rank import RankRequest
from leepfrog.ranking.rank_arrays import RankArraysRequest
from leepfrog.ranking.score_files import ScoreRequest
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.request import Request
from leepfrog.task2vec.embed import EmbedRequest
from leepfrog.validation.tasks import TasksRequest
from leepfrog.validation.validate import ValidateRequest

_REQUESTS: dict[str, type[Request]] = {
    request.command: request
    for request in (RankRequest, RankArraysRequest, ValidateRequest, TasksRequest, EmbedRequest, ScoreRequest)
}
# Receipt arguments that belong to neither the request nor the context: defaults resolved during the run.
_RESOLVED = ("probe_sha256",)


def request_of(receipt: Receipt) -> Request:
    """Return the request recorded in a receipt.

    Raises:
        UsageError: the command or an argument is unknown to this version of leepfrog.
    """
    kind = _REQUESTS.get(receipt.command)
    if kind is None:
        raise UsageError(f"made by {printable(receipt.command)!r}, which cannot be run again")
    if unknown := sorted(receipt.arguments.keys() - {*kind.field_names(), *kind.of_context, *_RESOLVED}):
        raise UsageError(f"receipt.arguments has {printable(unknown[0])!r:.40}, which {receipt.command} does not take")
    return kind.from_dict(receipt.arguments, receipt.seed)


def context_of(receipt: Receipt, context: RunContext) -> RunContext:
    """Return a context at least as strict as the first run's, with its device, batch size and costs as defaults.

    Raises:
        UsageError: the receipt's arguments are invalid.
    """
    kinds = {"strict": bool, "device": str, "costs": str, "batch_size": int}
    recorded = {name: receipt.arguments[name] for name in kinds if receipt.arguments.get(name) is not None}
    for name, value in recorded.items():
        if type(value) is not kinds[name]:
            raise UsageError(f"receipt.arguments: {name} is {value!r:.40}")
    # Values set in this call take precedence, except that recorded strictness is always kept.
    changes = {name: value for name, value in recorded.items() if not getattr(context, name)}
    return context.replace(**changes)


def rerun(
    baseline: Baseline,
    data: Path,
    models: Sequence[StrPath],
    context: RunContext,
    *,
    cached: bool = False,
    with_costs: bool = True,
) -> Replayable:
    """Repeat the request of a baseline.

    Args:
        baseline: result of the first run.
        data: the images; for scores of arrays, the folder that contains the arrays.
        models: files or folders with the models; empty for the models folder.
        context: execution environment; see `context_of`.
        cached: use cached outputs instead of running the models on all images again.
        with_costs: measure the costs of models; otherwise they are measured only if a budget needs them.

    Raises:
        UsageError: the command or an argument is unknown to this version of leepfrog, or a model is missing.
        LeepfrogError: see the repeated command.
    """
    receipt = baseline.receipt
    try:
        request = request_of(receipt)
        needs_costs = with_costs or (isinstance(request, RankRequest) and request.budget.needs_costs)
        if not needs_costs and not context.costs:
            context = context.replace(costs=KEPT)
        context = context_of(receipt, context)
    except UsageError as error:
        raise UsageError(f"{baseline.file}: {error}") from None
    files = find_again(receipt, models) if request.of_models else []
    with contextlib.nullcontext(context.cache) if cached else paths.fresh_outputs() as cache:
        again: Replayable = request.run_again(data, files, receipt, context.replace(cache=cache))
    return again


def find_again(receipt: Receipt, models: Sequence[StrPath]) -> list[Path]:
    """Find the files of a receipt's models by name, in `models` or else in the models folder.

    Raises:
        UsageError: a model is missing, or two models have the same name.
    """
    names = [model.name for model in receipt.models]
    if not names:
        raise UsageError("the receipt lists no models")
    if len(set(names)) < len(names):
        raise UsageError("two models of the baseline have the same name; export one of them with another --name")
    known = exported() if not models else {}
    if not set(names) <= known.keys():  # in other folders, or named differently from their files
        known = known | _named(models)
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(
            f"the baseline's model {missing[0]!r} was not found ({did_you_mean(missing[0], known)}); export it, or "
            "give its file or folder with --models"
        )
    return [known[name] for name in names]


def _named(wanted: Sequence[StrPath]) -> dict[str, Path]:
    paths_by_name: dict[str, Path] = {}
    for model in find_models(wanted):
        if model.name in paths_by_name:
            both = f"{printable(paths_by_name[model.name])} and {printable(model.path)}"
            raise UsageError(f"two models have the name {model.name!r}: {both}")
        paths_by_name[model.name] = model.path
    return paths_by_name
