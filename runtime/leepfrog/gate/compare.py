"""Compare two results value by value."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import UsageError
from leepfrog.gate.baseline import Baseline, Replayable
from leepfrog.gate.choices import VERIFY_TOLERANCE
from leepfrog.ranking.result import Ranking
from leepfrog.ranking.score_files import Scores
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt
from leepfrog.results import Result
from leepfrog.task2vec.embedding import Embedding

FieldPath = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Difference:
    """One value that changed.

    Attributes:
        where: path of the value in the result, such as "models.mobilenet_v2.scores.leep.value".
        was: value in the first run; None if absent.
        now: value in the second run; None if absent.
    """

    where: str
    was: Any
    now: Any


@dataclasses.dataclass(frozen=True)
class Verification(Result):
    """Result of comparing a result with a second run.

    Attributes:
        of: kind of the result.
        n_compared: number of values compared.
        tolerance: largest allowed difference, absolute or relative.
        worst: largest difference among values within the tolerance.
        differences: values that differ by more than the tolerance.
        causes: differences between the receipts, which may explain the differences; listed even if no value differs.
        receipt: receipt of the second run.
    """

    kind: ClassVar = "verification"
    schema_version: ClassVar = 1
    also_written: ClassVar = ("same",)

    of: str
    n_compared: int
    tolerance: float
    worst: float
    differences: tuple[Difference, ...]
    causes: tuple[str, ...]
    receipt: Receipt

    @property
    def same(self) -> bool:
        """True if no value differs."""
        return not self.differences


def compare(baseline: Baseline, now: Replayable, tolerance: float = VERIFY_TOLERANCE) -> Verification:
    """Compare a second run's result with the first one's.

    Args:
        baseline: result of the first run.
        now: result of the second run, of the same kind.
        tolerance: numbers a, b are equal if |a - b| <= tolerance max(1, |a|, |b|); for embeddings, the largest value
            replaces 1. Must be in [0, 1): at 1, all numbers of the same sign would be equal.

    Raises:
        UsageError: the tolerance is out of range.
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be from 0 to below 1, not {tolerance}")
    was, receipt = baseline.result, now.receipt
    skipped = {"measured", "order"} if _only_ties_moved(was, now) else {"measured"}
    n, worst = 0, 0.0
    differences = []
    scale = float(was.vector.max()) if isinstance(was, Embedding) else 1.0
    for path, a, b in _pairs(_anywhere(was), _anywhere(now), (), skipped):
        n += 1
        apart = _apart(a, b, scale)
        if apart <= tolerance:
            worst = max(worst, apart)
        else:
            differences.append(Difference(".".join(path), a, b))
    causes = tuple(all_causes(baseline.receipt, receipt))
    return Verification(baseline.kind, n, tolerance, worst, tuple(differences), causes, receipt)


def _anywhere(result: Replayable) -> Replayable:
    """Return a result whose notes contain only the name of the image folder, not its path."""
    if isinstance(result, Scores | Embedding):
        return result
    name = result.data.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return dataclasses.replace(result, notes=tuple(note.replace(result.data, name) for note in result.notes))


def all_causes(was: Receipt, now: Receipt) -> list[str]:
    """Return all differences between two receipts."""
    models = {model.name: model for model in now.models}
    causes = data_causes(was, now)
    if was.arguments.get("probe_sha256") != now.arguments.get("probe_sha256"):
        causes.append("model: probe changed")
    for model in was.models:
        if model.name in models:
            causes += [f"{cause} ({model.name})" for cause in model_causes(model, models[model.name])]
    return causes + environment_causes(was, now)


def _only_ties_moved(was: Replayable, now: Replayable) -> bool:
    """Return whether two rankings differ in order, but only among models that are tied in the first."""
    if not isinstance(was, Ranking) or not isinstance(now, Ranking):
        return False
    place = {model.name: i for i, model in enumerate(now)}
    swapped = [
        other.name in model.tied_with
        for model, other in itertools.combinations(was, 2)
        if place.get(model.name, -1) > place.get(other.name, len(place))
    ]
    return bool(swapped) and all(swapped)


def _pairs(was: Any, now: Any, path: FieldPath, skipped: Collection[str]) -> Iterator[tuple[FieldPath, Any, Any]]:
    """Yield the paths and values of corresponding fields; rows with names are matched by name.

    Args:
        was: result of the first run, or a part of it.
        now: corresponding part of the second run.
        path: path of the part in the result.
        skipped: kinds of fields that are not compared; see `leepfrog.results`.
    """
    if dataclasses.is_dataclass(was) and type(was) is type(now):
        for field in dataclasses.fields(was):
            if field.compare and field.metadata.get("differs") not in skipped:
                yield from _pairs(getattr(was, field.name), getattr(now, field.name), (*path, field.name), skipped)
    elif isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in {**was, **now}:
            yield from _pairs(was.get(key), now.get(key), (*path, str(key)), skipped)
    elif isinstance(was, _ROWS) and isinstance(now, _ROWS):
        rows, others = _by_name(was), _by_name(now)
        if rows is not None and others is not None:
            for name in {**rows, **others}:
                yield from _pairs(rows.get(name), others.get(name), (*path, name), skipped)
        elif path and path[-1] == "tied_with":
            yield path, sorted(was), sorted(now)
        elif len(was) != len(now):
            yield (*path, "number of entries"), len(was), len(now)
        else:
            for i, (a, b) in enumerate(zip(was, now, strict=True)):
                yield from _pairs(a, b, (*path, str(i)), skipped)
    else:
        yield path, was, now


_ROWS = (tuple, np.ndarray)


def _by_name(rows: tuple[Any, ...] | NDArray[Any]) -> dict[str, Any] | None:
    """Return the rows of a table by name; None if names are missing or not unique."""
    for key in ("name", "model"):
        if len(rows) and all(isinstance(getattr(row, key, None), str) for row in rows):
            named = {getattr(row, key): row for row in rows}
            return named if len(named) == len(rows) else None
    return None


def _apart(was: object, now: object, scale: float) -> float:
    """Return the difference of two values as defined by `compare`; infinite for unequal values that are not numbers."""
    if not (_number(was) and _number(now)):
        return 0.0 if was == now else math.inf
    assert isinstance(was, int | float)
    assert isinstance(now, int | float)
    try:
        apart = abs(float(was) - float(now)) / max(scale, abs(was), abs(now))
    except OverflowError:
        return math.inf
    return math.inf if math.isnan(apart) else apart


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
