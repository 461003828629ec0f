"""Run again what a receipt tells of."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from leepfrog import paths
from leepfrog.arguments import StrPath, did_you_mean
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.gate.baseline import Baseline
from leepfrog.inference.local import exported, find_models
from leepfrog.progress import Progress
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.rank import rank
from leepfrog.receipts.receipt import Receipt


@dataclasses.dataclass(frozen=True)
class How:
    """What of a second run may differ from the first without changing what is asked.

    Attributes:
        models: where the models are: files or folders; empty for the models folder.
        device: its name; None for the first run's.
        threads, batch_size: None for what suits the machine.
        measure_again: measure costs anew.
        cached: take outputs that are in the cache, rather than run the models on all images again.
        cache: folder of kept outputs; None for leepfrog's own. Not used unless `cached`.
    """

    models: Sequence[StrPath] = ()
    device: str | None = None
    threads: int | None = None
    batch_size: int | None = None
    measure_again: bool = False
    cached: bool = False
    cache: Path | None = None


def rerun(baseline: Baseline, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    """The result that the same call gives now, JSON values, its receipt among them.

    Args:
        baseline: of the first run.
        data: the images; for scores of arrays, the folder that the arrays lie in.
        how: what may differ.
        progress: who is told how far the work is.

    Raises:
        UsageError: the receipt asks for what this leepfrog does not know, or a model is not here.
        LeepfrogError: as of the command that is run again.
    """
    run = _COMMANDS.get(baseline.receipt.command)
    if run is None:
        raise UsageError(
            f"{baseline.where}: made by {printable(baseline.receipt.command)!r}, which cannot be run again"
        )
    with contextlib.nullcontext(how.cache) if how.cached else paths.fresh_outputs() as cache:
        again = run(baseline.receipt, data, dataclasses.replace(how, cache=cache), progress)
    found: dict[str, Any] = json.loads(json.dumps(again))  # as it would be read from its file
    return found


# What each command's arguments are.
_TEXTS, _COUNT, _NUMBER = list, int, int | float
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "rank": {
        "by": str, "scores": _TEXTS, "strict": bool, "budget": dict, "racing": bool, "device": str,
        "batch_size": _COUNT | None,
    },
    "validate": {
        "scores": _TEXTS, "images": _COUNT, "splits": _COUNT, "shots": _COUNT, "strict": bool, "device": str,
    },
    "tasks": {"n_tasks": _COUNT, "scores": _TEXTS, "images": _COUNT, "strict": bool, "device": str},
    "embed": {
        "estimator": str, "tolerance": _NUMBER, "max_images": _COUNT | None, "head_only": bool, "l2": _NUMBER | None,
        "strict": bool, "device": str, "probe_sha256": str | None,
    },
    "score": {"scores": _TEXTS},
}  # fmt: skip


def _asked(receipt: Receipt, how: How) -> dict[str, Any]:
    """What a command was asked for, on the device that is wanted now."""
    kinds = _ARGUMENTS[receipt.command]
    asked = dict(receipt.arguments)
    for name in {**kinds, **asked}:
        value = asked.get(name)
        fits = name in kinds and name in asked and isinstance(value, kinds[name])
        if not fits or (isinstance(value, bool) and kinds[name] is not bool):
            raise UsageError(f"the receipt's argument {printable(name)} is {value!r:.40}")
    if not all(isinstance(score, str) for score in asked.get("scores", ())):
        raise UsageError("the receipt's argument scores is no list of names")
    if "device" in asked:
        asked["device"] = how.device or asked["device"]
    return asked


def _machine(how: How) -> dict[str, Any]:
    """Arguments that all commands on images take."""
    return {"threads": how.threads, "cache": how.cache}


def find_again(receipt: Receipt, how: How) -> list[Path]:
    """The files of a receipt's models, by name: in `how.models`, or else in the models folder.

    Raises:
        UsageError: one is not there, or two go by one name.
    """
    names = [model.name for model in receipt.models]
    if not names:
        raise UsageError("the receipt tells of no models")
    if len(set(names)) < len(names):
        raise UsageError("two models of the baseline go by one name; export one of them under another --name")
    known = exported() if not how.models else {}
    if not set(names) <= known.keys():  # given elsewhere, or called otherwise than their files
        known = known | _named(how.models)
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(
            f"the baseline's model {missing[0]!r} is not here ({did_you_mean(missing[0], known)}); export it, or name "
            "its file or folder with --models"
        )
    return [known[name] for name in names]


def _named(wanted: Sequence[StrPath]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for model in find_models(wanted):
        if model.name in found:
            both = f"{printable(found[model.name])} and {printable(model.path)}"
            raise UsageError(f"two models are called {model.name!r}: {both}")
        found[model.name] = model.path
    return found


def _rank(receipt: Receipt, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    asked = _asked(receipt, how)
    limits = asked.pop("budget")
    known = {field.name for field in dataclasses.fields(Budget)}
    if limits.keys() != known or not all(limit is None or isinstance(limit, int | float) for limit in limits.values()):
        raise UsageError(f"the receipt's argument budget is {limits!r:.60}")
    asked["batch_size"] = how.batch_size
    return rank(
        data,
        find_again(receipt, how),
        **asked,
        budget=Budget(**limits),
        **_machine(how),
        measure_again=how.measure_again,
        progress=progress,
    ).as_dict()


def _validate(receipt: Receipt, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    from leepfrog.validation.validate import validate

    asked, models = _asked(receipt, how), find_again(receipt, how)
    return validate(data, models, **asked, **_machine(how), seed=receipt.seed, progress=progress).as_dict()


def _tasks(receipt: Receipt, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    from leepfrog.validation.tasks import study_tasks

    asked, model = _asked(receipt, how), _one_model(receipt, how)
    return study_tasks(data, model, **asked, **_machine(how), seed=receipt.seed, progress=progress).as_dict()


def _embed(receipt: Receipt, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    from leepfrog.task2vec.embed import embed

    asked, model = _asked(receipt, how), _one_model(receipt, how)
    del asked["probe_sha256"]
    found = embed(data, model, **asked, **_machine(how), seed=receipt.seed, progress=progress)
    return {"vector": found.vector.tolist(), "network": found.network, "receipt": found.made["receipt"]}


def _one_model(receipt: Receipt, how: How) -> Path:
    found = find_again(receipt, how)
    if len(found) != 1:
        raise UsageError(f"the receipt tells of {len(found)} models, of which {receipt.command} takes one")
    return found[0]


def _score(receipt: Receipt, data: Path, how: How, progress: Progress) -> dict[str, Any]:
    from leepfrog.ranking.from_files import score_files

    names = _asked(receipt, how)["scores"]
    arrays = {name: data / array.file for name, array in receipt.arrays.items()}
    if "labels" not in arrays:
        raise UsageError("the receipt tells of no labels")
    return score_files(arrays["labels"], arrays.get("probs"), arrays.get("features"), names, progress).as_dict()


_COMMANDS: dict[str, Callable[[Receipt, Path, How, Progress], dict[str, Any]]] = {
    "rank": _rank,
    "validate": _validate,
    "tasks": _tasks,
    "embed": _embed,
    "score": _score,
}
