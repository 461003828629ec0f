"""Two results, number by number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from leepfrog.errors import UsageError
from leepfrog.gate.baseline import Baseline
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt

# What a second run may have otherwise without being another result, by the table that it stands in ("" for the top):
# what is measured anew and what follows from it, and where the images came from.
MEASURED = {
    "": frozenset(["receipt", "data"]),
    "models": frozenset(["cost", "on_front", "outside", "n_inferred", "path"]),
    "drifts": frozenset(["latency", "latency_in_doubt", "memory", "verdict"]),
}
# Order among models that the images do not tell apart is a matter of rounding.
OF_ORDER = frozenset(["rank", "group", "tied_with_best", "separation"])

Path = tuple[str, ...]

TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Difference:
    """One value that is not what it was.

    Attributes:
        where: the way to it in the result, such as "models.mobilenet_v2.scores.leep.value".
        was, now: the values; None where there is none.
    """

    where: str
    was: Any
    now: Any


@dataclasses.dataclass(frozen=True)
class Verification:
    """A result against a second run.

    Attributes:
        kind: of the result.
        n_compared: values compared.
        tolerance: how far numbers may be apart, absolutely or by this part of them.
        worst: the largest such distance among numbers that were within it.
        differences: values that differ by more.
        causes: what the receipts tell of why; also where nothing differs.
        receipt: of the second run.
    """

    kind: str
    n_compared: int
    tolerance: float
    worst: float
    differences: tuple[Difference, ...]
    causes: tuple[str, ...]
    receipt: Receipt

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """The verification as JSON-ready values."""
        head = {"schema_version": 1, "kind": "verification", "same": self.same, "of": self.kind}
        found = dataclasses.asdict(self)
        del found["kind"]
        return {**head, **found, "receipt": self.receipt.as_dict()}


def compare(baseline: Baseline, now: Mapping[str, Any], tolerance: float = TOLERANCE) -> Verification:
    """Hold a second run's result against the first one's.

    Args:
        baseline: the first.
        now: the second, JSON values.
        tolerance: numbers a, b are the same where |a - b| <= tolerance max(1, |a|, |b|); of an embedding's values,
            tolerance times the largest. From 0 to below 1: at 1, all numbers would be alike.

    Raises:
        UsageError: another tolerance.
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be from 0 to below 1, not {tolerance}")
    receipt = Receipt.from_dict(now["receipt"])
    n, worst = 0, 0.0
    differences = []
    ties_moved = _only_ties_moved(baseline.values, now)
    scale = max(map(abs, baseline.values["vector"]), default=1.0) if baseline.kind == "embedding" else 1.0
    for path, a, b in _pairs(baseline.values, now, ()):
        if ties_moved and OF_ORDER & set(path):
            continue
        n += 1
        apart = _apart(a, b, scale)
        if apart <= tolerance:
            worst = max(worst, apart)
        else:
            differences.append(Difference(".".join(path), a, b))
    return Verification(
        baseline.kind, n, tolerance, worst, tuple(differences), tuple(all_causes(baseline.receipt, receipt)), receipt
    )


def all_causes(was: Receipt, now: Receipt) -> list[str]:
    """All that differs between two receipts."""
    models = {model.name: model for model in now.models}
    found = data_causes(was, now)
    if was.arguments.get("probe_sha256") != now.arguments.get("probe_sha256"):
        found.append("model: the probe is another")
    for model in was.models:
        if model.name in models:
            found += [f"{cause} ({model.name})" for cause in model_causes(model, models[model.name])]
    return found + environment_causes(was, now)


def _only_ties_moved(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two rankings order models otherwise, but none that the first told apart."""
    rows = [(row.get("name"), row.get("tied_with") or ()) for row in _rows(was)]
    place = {row.get("name"): i for i, row in enumerate(_rows(now))}
    swapped = [
        other in tied
        for i, (name, tied) in enumerate(rows)
        for other, _ in rows[i + 1 :]
        if place.get(name, -1) > place.get(other, len(place))
    ]
    return bool(swapped) and all(swapped)


def _rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = result.get("models")
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _pairs(was: Any, now: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Values that stand in the same place; rows that have names are matched by these."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        measured = MEASURED.get(path[0] if path else "", frozenset()) if len(path) in (0, 2) else frozenset()
        for key in {**was, **now}:
            if key not in measured:
                yield from _pairs(was.get(key), now.get(key), (*path, str(key)))
    elif isinstance(was, list) and isinstance(now, list):
        rows, others = _by_name(was), _by_name(now)
        if rows is not None and others is not None:
            for name in {**rows, **others}:
                yield from _pairs(rows.get(name), others.get(name), (*path, name))
        elif path and path[-1] == "tied_with":
            yield path, sorted(map(str, was)), sorted(map(str, now))
        elif len(was) != len(now):
            yield (*path, "number of entries"), len(was), len(now)
        else:
            for i, (a, b) in enumerate(zip(was, now, strict=True)):
                yield from _pairs(a, b, (*path, str(i)))
    else:
        yield path, was, now


def _by_name(rows: list[Any]) -> dict[str, Any] | None:
    """Rows of a table by the names in them, None where they have none, or one twice."""
    for key in ("name", "model"):
        if rows and all(isinstance(row, Mapping) and isinstance(row.get(key), str) for row in rows):
            found = {row[key]: row for row in rows}
            return found if len(found) == len(rows) else None
    return None


def _apart(was: object, now: object, scale: float) -> float:
    """How far values lie from each other, as `compare` counts it; infinitely, where they are no numbers and differ."""
    if not (_number(was) and _number(now)):
        return 0.0 if was == now else math.inf
    assert isinstance(was, int | float)
    assert isinstance(now, int | float)
    try:
        found = abs(float(was) - float(now)) / max(scale, abs(was), abs(now))
    except OverflowError:
        return math.inf
    return math.inf if math.isnan(found) else found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
