"""Two results, number by number."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from leepfrog.gate.baseline import Baseline
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt

# What a second run may have otherwise without being another result: times, costs and what follows from them, places.
MEASURED = frozenset(
    ["receipt", "cost", "latency", "memory", "verdict", "on_front", "outside", "n_inferred", "path", "data", "notes"]
)
# Order among models that the images do not tell apart is a matter of rounding.
OF_ORDER = frozenset(["rank", "group", "tied_with", "tied_with_best", "separation"])

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
            tolerance times the largest.
    """
    receipt = Receipt.from_dict(now["receipt"])
    n, worst = 0, 0.0
    differences = []
    ordered = _order_matters(baseline.values, now)
    scale = max(map(abs, baseline.values["vector"]), default=1.0) if baseline.kind == "embedding" else 1.0
    for where, a, b in _pairs(baseline.values, now, ""):
        if not ordered and re.split(r"[\[ ]", where.rpartition(".")[2])[0] in OF_ORDER:
            continue
        n += 1
        if _number(a) and _number(b):
            apart = abs(a - b) / max(scale, abs(a), abs(b))
            if apart <= tolerance:
                worst = max(worst, apart)
                continue
        elif a == b:
            continue
        differences.append(Difference(where, a, b))
    return Verification(
        baseline.kind, n, tolerance, worst, tuple(differences), tuple(all_causes(baseline.receipt, receipt)), receipt
    )


def all_causes(was: Receipt, now: Receipt) -> list[str]:
    """All that differs between two receipts."""
    models = {model.name: model for model in now.models}
    found = data_causes(was, now)
    for model in was.models:
        if model.name in models:
            found += [f"{cause} ({model.name})" for cause in model_causes(model, models[model.name])]
    return found + environment_causes(was, now)


def _order_matters(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two rankings order models otherwise that the first did tell apart."""
    rows = [(row["name"], row.get("tied_with", ())) for row in was.get("models", ()) if isinstance(row, dict)]
    place = {row["name"]: i for i, row in enumerate(now.get("models", ())) if isinstance(row, dict)}
    return any(
        place.get(name, 0) > place.get(other, 0) and other not in tied
        for i, (name, tied) in enumerate(rows)
        for other, _ in rows[i + 1 :]
    )


def _pairs(was: Any, now: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Values that stand in the same place; rows that have names are matched by these."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in {**was, **now}:
            if key not in MEASURED:
                yield from _pairs(was.get(key), now.get(key), f"{where}.{key}".lstrip("."))
    elif isinstance(was, list) and isinstance(now, list):
        rows, others = _by_name(was), _by_name(now)
        if rows is not None and others is not None:
            for name in {**rows, **others}:
                yield from _pairs(rows.get(name), others.get(name), f"{where}.{name}")
            return
        if len(was) != len(now):
            yield f"{where} (number of entries)", len(was), len(now)
            return
        for i, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _pairs(a, b, f"{where}[{i}]")
    else:
        yield where, was, now


def _by_name(rows: list[Any]) -> dict[str, Any] | None:
    """Rows of a table by the names in them, None where they have none."""
    for key in ("name", "model"):
        if rows and all(isinstance(row, Mapping) and isinstance(row.get(key), str) for row in rows):
            return {row[key]: row for row in rows}
    return None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
