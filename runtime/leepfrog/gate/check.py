"""A ranking as a regression check: run it again, and say what got worse and why, as far as the receipts tell.

What is judged, one or more of CRITERIA:

score    each model's scores by themselves. The default order's own score is left out: it is in units that depend on the
         other models, so that one changed model would move all.
rank     pairs of models that the baseline's images told apart and that now stand the other way round, told apart again.
latency  a run's time as a multiple of a fixed graph's, both measured in this run: seconds differ between machines and
         moments. What fails or is in doubt is measured twice more, and the median of what is not in doubt counts. If
         all is in doubt, nothing is judged: the check neither passes nor fails.
size     bytes of the model's file.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leepfrog.arguments import StrPath, as_path, check_name, several
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.gate.baseline import Baseline
from leepfrog.gate.choices import CRITERIA, DEFAULT_CRITERIA, LATENCY_TOLERANCE, TOLERANCE
from leepfrog.gate.rerun import How, find_again, rerun
from leepfrog.inference.cost import measure
from leepfrog.inference.device import threads_for
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, Silent
from leepfrog.ranking.combined import COMBINED
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt

# Scores without a standard error, and those whose error is 0.
LEAST = 1e-6
SIZE_TOLERANCE = 0.01
MEASUREMENTS, SECONDS = 3, 1.0

UNKNOWN = "no cause found: the receipts show no change"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was judged.

    Attributes:
        criterion: one of CRITERIA.
        model: whose; two names for a pair.
        what: the score's name, or "order", "latency" (relative to the fixed graph), "size" (bytes).
        was, now: the values; for an order, the scores' differences.
        allowed: how far `now` may be from `was`, or above it.
        failed: whether it is further.
        causes: of a failure, the likeliest first.
        doubtful: whether it could not be judged, because other work on the machine disturbed every measurement.
    """

    criterion: str
    model: str
    what: str
    was: float
    now: float
    allowed: float
    failed: bool
    causes: tuple[str, ...] = ()
    doubtful: bool = False

    @property
    def message(self) -> str:
        """What happened, in a few words."""
        if self.criterion == "rank":
            return f"changed places ({self.was:+.4g} -> {self.now:+.4g})"
        if self.doubtful:
            return "not judged: other work on this machine disturbed every measurement; check again when it is quiet"
        if self.criterion == "latency":
            most = 1 + self.allowed / self.was
            return f"{self.now / self.was:.2f} times the time of before, allowed {most:.2f}, against the fixed graph"
        if self.criterion == "size":
            return f"{self.was:,.0f} -> {self.now:,.0f} bytes"
        return f"{self.what} {self.was:.5g} -> {self.now:.5g} (allowed +- {self.allowed:.2g})"


@dataclasses.dataclass(frozen=True)
class Check:
    """A baseline against a second run.

    Attributes:
        baseline: the file.
        criteria: what was judged.
        findings: each thing that was, failures first.
        changes: all that the receipts tell to be otherwise, whether or not it made anything fail.
        receipt: of the second run.
    """

    baseline: str
    criteria: tuple[str, ...]
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    receipt: Receipt

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that failed."""
        return tuple(found for found in self.findings if found.failed)

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """The findings that could not be judged."""
        return tuple(found for found in self.findings if found.doubtful)

    @property
    def passed(self) -> bool:
        """Whether everything was judged, and nothing failed."""
        return not self.failures and not self.undecided

    def as_dict(self) -> dict[str, Any]:
        """The check as JSON-ready values."""
        findings = [dataclasses.asdict(found) | {"message": found.message} for found in self.findings]
        return {
            "schema_version": 1,
            "kind": "check",
            "passed": self.passed,
            "baseline": self.baseline,
            "criteria": list(self.criteria),
            "findings": findings,
            "changes": list(self.changes),
            "receipt": self.receipt.as_dict(),
        }


def check(
    baseline: StrPath,
    data: StrPath,
    *,
    models: StrPath | Sequence[StrPath] = (),
    fail_on: str | Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    latency_tolerance: float = LATENCY_TOLERANCE,
    device: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    cached: bool = False,
    progress: Progress | None = None,
) -> Check:
    """Rank again and hold the result against a baseline.

    Args:
        baseline: what `leepfrog rank DIR -o baseline.json` wrote.
        data: the images, as of `leepfrog.rank`.
        models: where the baseline's models are, found by name; empty for the models folder.
        fail_on: of CRITERIA, those that are judged; None for score, size and, where there are several models, rank.
        tolerance: how far a score may move, in its baseline's standard errors.
        latency_tolerance: by what part a relative latency may grow.
        device: its name; None for the baseline's.
        threads: cores to use; None for all.
        batch_size: images in one run of a model; None for what suits the device.
        cached: take outputs that are in the cache, rather than run the models on all images again.
        progress: who is told how far the work is.

    Raises:
        UsageError: the baseline is missing, broken, no ranking, or of other classes or models: such is never a pass.
        LeepfrogError: as of `leepfrog.rank`.
    """
    fail_on = None if fail_on is None else several(fail_on)
    for each in fail_on or ():
        check_name("criterion", each, CRITERIA)
    if fail_on is not None and not fail_on:
        raise UsageError(f"fail_on is empty; give one or more of {', '.join(CRITERIA)}")
    if not 0 <= tolerance < math.inf or not 0 <= latency_tolerance < math.inf:
        raise UsageError("tolerances must be 0 or more, and finite")
    progress = progress or Silent()
    first = Baseline.read(Path(baseline))
    if first.kind != "ranking":
        raise UsageError(f"{first.where}: is {first.kind}, not a ranking; leepfrog verify takes it")
    rows = _rows(first)
    criteria = tuple(fail_on or (each for each in DEFAULT_CRITERIA if each != "rank" or len(rows) > 1))
    in_doubt = [printable(name) for name, row in rows.items() if "relative_latency" in row["cost"].get("doubtful", ())]
    if in_doubt and "latency" in criteria:
        raise UsageError(
            f"{first.where}: the latency of {in_doubt[0]} was measured while other work disturbed it; make the "
            "baseline again when the machine is quiet"
        )
    # Exactly what is judged, and all of it: nothing is raced away, nor stands in the table besides.
    asked = dataclasses.replace(
        first.receipt,
        arguments={**first.receipt.arguments, "racing": False},
        models=tuple(model for model in first.receipt.models if model.name in rows),
    )
    first = dataclasses.replace(first, receipt=asked)
    how = How(several(models), device, threads, batch_size, measure_again="latency" in criteria, cached=cached)
    second = rerun(first, as_path(data, "images"), how, progress)
    receipt = Receipt.from_dict(second["receipt"])
    _same_subject(first, rows, second, receipt)
    judge = _Judge(first, rows, second, receipt, tolerance, latency_tolerance)
    findings = []
    for criterion in criteria:
        judged = list(judge.by(criterion))
        if not judged:
            raise UsageError(f"{first.where}: has nothing to judge by {criterion}")
        findings += judged
    if "latency" in criteria:
        findings = _measured_again(findings, first, how, progress)
    findings.sort(key=lambda found: (not found.failed, not found.doubtful))
    return Check(first.where, criteria, tuple(findings), tuple(judge.changes()), receipt)


def _rows(baseline: Baseline) -> dict[str, Mapping[str, Any]]:
    """The baseline's models by name, with what is judged; UsageError where they have not got it."""
    try:
        rows = {row["name"]: row for row in baseline.values["models"]}
        for row in rows.values():
            _finite(row["cost"]["relative_latency"], above=0)
            _finite(row["size_bytes"], above=0)
            _finite(row["scores"][baseline.values["ranked_by"]]["value"])
            for score in row["scores"].values():
                _finite(score["value"])
                _finite(score["standard_error"] or 0)
            for name, texts in (("tied_with", row["tied_with"]), ("doubtful", row["cost"].get("doubtful", []))):
                if not all(isinstance(text, str) for text in texts):
                    raise TypeError(name)
        race = {} if baseline.values.get("race") is None else baseline.values["race"]
        left = {each["model"] for each in race.get("dropped", ())} | {each[0] for each in race.get("outside", ())}
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"{baseline.where}: its models are not understood: {type(error).__name__} {error}") from None
    if not rows or len(rows) < len(baseline.values["models"]):
        raise UsageError(f"{baseline.where}: holds {'the same model twice' if rows else 'no models'}")
    lost = [model.name for model in baseline.receipt.models if model.name not in rows.keys() | left]
    if lost:
        raise UsageError(f"{baseline.where}: its receipt tells of {lost[0]!r}, which it does not hold")
    return rows


def _finite(value: object, above: float = -math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < float(value) < math.inf:
        raise ValueError(f"{value!r:.40}")


def _same_subject(
    first: Baseline, rows: Mapping[str, Mapping[str, Any]], second: Mapping[str, Any], receipt: Receipt
) -> None:
    """UsageError where what was ranked again is something else, or lacks what is to be judged."""
    was, now = first.receipt.data, receipt.data
    if was is None or now is None:
        raise UsageError(f"{first.where}: its receipt tells of no images")
    if not was.classes.keys() & now.classes.keys() and was.images_sha256 != now.images_sha256:
        raise UsageError(f"{first.where}: is of other images: none of its classes is among those ranked now")
    again = {row["name"]: row for row in second["models"]}
    for name, row in rows.items():
        if name not in again or not row["scores"].keys() <= again[name]["scores"].keys():
            raise UsageError(f"{first.where}: {printable(name)}, or a score of it, was not ranked again")


@dataclasses.dataclass
class _Judge:
    """Two rankings, and what is allowed between them."""

    first: Baseline
    rows: Mapping[str, Mapping[str, Any]]
    second: Mapping[str, Any]
    receipt: Receipt
    tolerance: float
    latency_tolerance: float

    def __post_init__(self) -> None:
        self.now = {row["name"]: row for row in self.second["models"]}
        was = {model.name: model for model in self.first.receipt.models}
        self.of_models = {model.name: model_causes(was[model.name], model) for model in self.receipt.models}
        self.of_data = data_causes(self.first.receipt, self.receipt)
        self.of_environment = environment_causes(self.first.receipt, self.receipt)

    def by(self, criterion: str) -> Iterator[Finding]:
        return {"score": self.scores, "rank": self.order, "latency": self.latencies, "size": self.sizes}[criterion]()

    def changes(self) -> list[str]:
        told = [f"{cause} ({name})" for name, causes in self.of_models.items() for cause in causes]
        return self.of_data + told + self.of_environment

    def causes(self, *models: str, of_data: bool = True) -> tuple[str, ...]:
        """Of a failure that has to do with these models."""
        own = [cause for model in models for cause in self.of_models.get(model, [])]
        return tuple((self.of_data if of_data else []) + own + self.of_environment) or (UNKNOWN,)

    def scores(self) -> Iterator[Finding]:
        for name, row in self.rows.items():
            for score, before in row["scores"].items():
                if score == COMBINED:
                    continue
                was, now = before["value"], self.now[name]["scores"][score]["value"]
                allowed = max(self.tolerance * (before["standard_error"] or 0), LEAST)
                failed = not abs(now - was) <= allowed
                yield Finding("score", name, score, was, now, allowed, failed, self.causes(name) if failed else ())

    def order(self) -> Iterator[Finding]:
        by = self.first.values["ranked_by"]
        for (better, was), (other, of_other) in itertools.combinations(self.rows.items(), 2):
            apart = was["scores"][by]["value"] - of_other["scores"][by]["value"]
            rows = self.now[better], self.now[other]
            now = rows[0]["scores"][by]["value"] - rows[1]["scores"][by]["value"]
            sure = other not in was["tied_with"] and other not in rows[0]["tied_with"]
            failed = sure and apart * now < 0
            pair = f"{better} and {other}"
            causes = self.causes(better, other) if failed else ()
            yield Finding("rank", pair, "order", apart, now, 0.0, failed, causes)

    def latencies(self) -> Iterator[Finding]:
        for name, row in self.rows.items():
            was, now = (each["cost"]["relative_latency"] for each in (row, self.now[name]))
            allowed = self.latency_tolerance * was
            failed = not now <= was + allowed
            doubtful = "relative_latency" in self.now[name]["cost"]["doubtful"]
            causes = self.causes(name, of_data=False) if failed or doubtful else ()
            yield Finding("latency", name, "latency", was, now, allowed, failed, causes, doubtful)

    def sizes(self) -> Iterator[Finding]:
        for name, row in self.rows.items():
            was, now = row["size_bytes"], self.now[name]["size_bytes"]
            allowed = SIZE_TOLERANCE * was
            failed = now > was + allowed
            causes = (self.of_models[name] or [UNKNOWN]) if failed else []
            yield Finding("size", name, "size", was, now, allowed, failed, tuple(causes))


def _measured_again(findings: Sequence[Finding], first: Baseline, how: How, progress: Progress) -> list[Finding]:
    """Latencies that failed or are in doubt are measured again, at length; the median of those not in doubt counts."""
    device = how.device or str(first.receipt.arguments["device"])
    files = {model.name: path for model, path in zip(first.receipt.models, find_again(first.receipt, how), strict=True)}

    def again(found: Finding) -> Finding:
        measured = [] if found.doubtful else [found.now]
        for _ in range(MEASUREMENTS - 1):
            why = "in doubt" if found.doubtful else f"{found.now / found.was:.2f} times as slow"
            progress.notice(f"latency of {found.model}: {why}; measured again")
            cost = measure(ModelFile.read(files[found.model]), device, threads_for(device, how.threads), SECONDS)
            if "relative_latency" not in cost.doubtful:
                measured.append(cost.relative_latency)
        if not measured:
            return dataclasses.replace(found, failed=False, causes=(), doubtful=True)
        now = statistics.median(measured)
        failed = not now <= found.was + found.allowed
        return dataclasses.replace(found, now=now, failed=failed, causes=found.causes if failed else (), doubtful=False)

    return [
        again(each) if each.criterion == "latency" and (each.failed or each.doubtful) else each for each in findings
    ]
