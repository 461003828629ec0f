"""Regression check of a ranking: run it again and report what got worse, with likely causes from the receipts.

The check judges one or more of CRITERIA:

score    the scores of each model on its own. Scores that depend on the other models, such as an expected accuracy, are
         excluded: a single changed model would change all of them.
rank     pairs of models that are not tied in either ranking and have swapped order.
latency  the time per image relative to that of a reference graph, both measured in this run: absolute times vary
         between machines and runs. Latencies that fail or are in doubt are measured twice more, and the median of the
         measurements not in doubt counts. If all are in doubt, the check neither passes nor fails.
size     the size of the model file in bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from leepfrog.arguments import StrPath, as_path, check_name, several
from leepfrog.costs.measured import measure_costs
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.files import printable
from leepfrog.gate.baseline import Baseline
from leepfrog.gate.choices import CRITERIA, DEFAULT_CRITERIA, LATENCY_TOLERANCE, SCORE_TOLERANCE
from leepfrog.gate.rerun import context_of, find_again, rerun
from leepfrog.inference.model import ModelFile
from leepfrog.ranking.decision import is_relative
from leepfrog.ranking.rank_arrays import RankArraysRequest
from leepfrog.ranking.result import Ranking
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt
from leepfrog.results import Result

# Tolerance for scores without a standard error or with a standard error of 0.
LEAST = 1e-6
SIZE_TOLERANCE = 0.01
MEASUREMENTS, SECONDS = 3, 1.0

# What a finding calls the order of models that either ranking does not separate.
TIED_ORDER = "order of tied models"
UNKNOWN = "no cause found: the receipts show no change"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The verdict on one value.

    Attributes:
        criterion: "score", "rank", "latency" or "size".
        model: name of the model; two names for a pair.
        what: name of the score, or "order", "order of tied models" (which cannot fail), "latency" (relative to the
            reference graph), "size" (bytes).
        was, now: values in the baseline and the new run; for an order, the score differences.
        allowed: largest allowed distance of `now` from `was`; for latency and size, the largest allowed increase.
        failed: true if the change exceeds `allowed`; for an order, if it is reversed without ties.
        causes: possible causes of a failure, most likely first.
        doubtful: true if the value could not be judged because other work disturbed every measurement.
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

    also_written: ClassVar = ("message",)

    @property
    def message(self) -> str:
        """A short description of the change."""
        if self.criterion == "rank":
            return f"order reversed ({self.was:+.4g} -> {self.now:+.4g})"
        if self.doubtful:
            return "not judged: other work disturbed every measurement; check again when the machine is quiet"
        if self.criterion == "latency":
            most = 1 + self.allowed / self.was
            return f"{self.now / self.was:.2f} times the baseline, relative to the reference graph (allowed {most:.2f})"
        if self.criterion == "size":
            return f"{self.was:,.0f} -> {self.now:,.0f} bytes"
        return f"{self.what} {self.was:.5g} -> {self.now:.5g} (allowed +- {self.allowed:.2g})"


@dataclasses.dataclass(frozen=True)
class Check(Result):
    """Result of comparing a new run with a baseline.

    Attributes:
        baseline: path of the baseline file.
        criteria: the criteria that were judged.
        findings: verdict on each value, failures first.
        changes: all differences between the receipts, whether or not anything failed.
        receipt: receipt of the new run.

    >>> import leepfrog
    >>> leepfrog.rank("PHOTOS", "mobilenet_v2").save("baseline.json")
    >>> found = leepfrog.check("baseline.json", "PHOTOS")
    >>> found.criteria, [finding.message for finding in found.failures]
    (('score', 'size'), [])
    """

    kind: ClassVar = "check"
    schema_version: ClassVar = 1
    also_written: ClassVar = ("passed",)

    baseline: str
    criteria: tuple[str, ...]
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    receipt: Receipt

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that failed."""
        return tuple(finding for finding in self.findings if finding.failed)

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """The findings that could not be judged."""
        return tuple(finding for finding in self.findings if finding.doubtful)

    @property
    def passed(self) -> bool:
        """True if everything was judged and nothing failed."""
        return not self.failures and not self.undecided


def check(
    baseline: StrPath,
    data: StrPath,
    *,
    models: StrPath | Sequence[StrPath] = (),
    fail_on: str | Sequence[str] | None = None,
    tolerance: float = SCORE_TOLERANCE,
    latency_tolerance: float = LATENCY_TOLERANCE,
    cached: bool = False,
    context: RunContext | None = None,
) -> Check:
    """Rank again and compare the result with a baseline.

    Args:
        baseline: a file written by `leepfrog rank DIR -o baseline.json`.
        data: the images, same as for `leepfrog.rank`.
        models: files or folders with the baseline's models, found by name; empty for the models folder.
        fail_on: the criteria to judge, of "score", "rank", "latency" and "size"; None for score, size and, if there are
            several models, rank.
        tolerance: largest allowed change of a score, in standard errors of the baseline score.
        latency_tolerance: largest allowed increase of a relative latency, as a fraction.
        cached: use cached outputs instead of running the models on all images again.
        context: execution environment; None for the baseline's device.

    Raises:
        UsageError: the baseline is missing, broken, not a ranking, or for other classes or models; this never passes.
        LeepfrogError: see `leepfrog.rank`.

    >>> import leepfrog
    >>> leepfrog.rank("PHOTOS", "mobilenet_v2").save("baseline.json")
    >>> check("baseline.json", "PHOTOS", fail_on=["score", "size"]).passed
    True
    """
    fail_on = None if fail_on is None else several(fail_on)
    for criterion in fail_on or ():
        check_name("criterion", criterion, CRITERIA)
    if fail_on is not None and not fail_on:
        raise UsageError(f"fail_on is empty; give one or more of {', '.join(CRITERIA)}")
    if not 0 <= tolerance < math.inf or not 0 <= latency_tolerance < math.inf:
        raise UsageError("tolerances must be 0 or more, and finite")
    stored = Baseline.read(Path(baseline))
    baseline_ranking = stored.result
    if not isinstance(baseline_ranking, Ranking):
        raise UsageError(f"{stored.file}: contains a {stored.kind}, not a ranking; use leepfrog verify")
    if stored.receipt.command == RankArraysRequest.command:
        raise UsageError(f"{stored.file}: contains a ranking of arrays; use leepfrog verify")
    _check_rows(stored, baseline_ranking)
    criteria = tuple(
        fail_on or (criterion for criterion in DEFAULT_CRITERIA if criterion != "rank" or len(baseline_ranking) > 1)
    )
    in_doubt = [model.name for model in baseline_ranking if "relative_latency" in model.doubtful]
    if in_doubt and "latency" in criteria:
        raise UsageError(
            f"{stored.file}: the latency of {in_doubt[0]} is in doubt, as other work disturbed its measurement; "
            "recreate the baseline when the machine is quiet"
        )
    # Rank exactly the models to be judged, without racing.
    names = {model.name for model in baseline_ranking}
    asked = dataclasses.replace(
        stored.receipt,
        arguments={**stored.receipt.arguments, "racing": False},
        models=tuple(model for model in stored.receipt.models if model.name in names),
    )
    stored = dataclasses.replace(stored, receipt=asked)
    files = several(models)
    context = context or RunContext()
    context = context.replace(measure_again=context.measure_again or "latency" in criteria)
    with_costs = "latency" in criteria
    new_ranking = rerun(stored, as_path(data, "images"), files, context, cached=cached, with_costs=with_costs)
    assert isinstance(new_ranking, Ranking)
    _same_subject(stored, baseline_ranking, new_ranking)
    if "latency" in criteria:
        _same_place(stored, baseline_ranking, new_ranking)
    judge = _Judge(stored.receipt, baseline_ranking, new_ranking, tolerance, latency_tolerance)
    findings = []
    for criterion in criteria:
        judged = list(judge.findings(criterion))
        if not judged:
            raise UsageError(f"{stored.file}: contains nothing to judge by {criterion}")
        findings += judged
    if "latency" in criteria:
        findings = _measured_again(findings, stored.receipt, files, context_of(stored.receipt, context).checked())
    findings.sort(key=lambda finding: (not finding.failed, not finding.doubtful))
    return Check(stored.file, criteria, tuple(findings), tuple(judge.changes()), new_ranking.receipt)


def _check_rows(baseline: Baseline, ranking: Ranking) -> None:
    """Raise UsageError if a ranking lacks a score or size to judge, or its models differ from its receipt."""
    names = [model.name for model in ranking]
    if len(set(names)) < len(names) or not names:
        raise UsageError(f"{baseline.file}: contains {'the same model twice' if names else 'no models'}")
    for model in ranking:
        if ranking.ranked_by not in model.scores or not (model.size_bytes or 0) > 0:
            raise UsageError(f"{baseline.file}: {model.name} has no {ranking.ranked_by} or size")
        if model.cost is not None and not model.cost.relative_latency > 0:
            raise UsageError(f"{baseline.file}: {model.name} has no relative latency")
    race = ranking.race
    left = () if race is None else (*(drop.model for drop in race.dropped), *(name for name, _ in race.outside))
    lost = [model.name for model in baseline.receipt.models if model.name not in (*names, *left)]
    if lost:
        raise UsageError(f"{baseline.file}: its receipt lists {lost[0]!r}, which is missing from the ranking")


def _same_subject(baseline: Baseline, baseline_ranking: Ranking, new_ranking: Ranking) -> None:
    """Raise UsageError if the new run ranked other images, or lacks a model or score to judge."""
    images, images_now = baseline.receipt.data, new_ranking.receipt.data
    if images is None or images_now is None:
        raise UsageError(f"{baseline.file}: its receipt records no images")
    if not images.classes.keys() & images_now.classes.keys() and images.images_sha256 != images_now.images_sha256:
        raise UsageError(f"{baseline.file}: was made from other images: none of its classes is in the given image set")
    again = {model.name: model for model in new_ranking}
    for model in baseline_ranking:
        if model.name not in again or not model.scores.keys() <= again[model.name].scores.keys():
            raise UsageError(f"{baseline.file}: {model.name} or one of its scores is missing from the new ranking")


def _same_place(baseline: Baseline, baseline_ranking: Ranking, new_ranking: Ranking) -> None:
    """Raise UsageError if latencies are unknown, or not comparable because they were measured at different places."""
    for model in baseline_ranking:
        before, cost = model.cost, new_ranking[model.name].cost
        if before is None or cost is None:
            raise UsageError(f"{baseline.file}: the latency of {model.name} is unknown; recreate the baseline")
        if before.place != cost.place:
            raise UsageError(
                f"{baseline.file}: the latency of {model.name} was measured at {printable(before.place)!r}, now at "
                f"{printable(cost.place)!r}; measure at the same place (--costs) or recreate the baseline"
            )


class _Judge:
    """Comparison of two rankings within tolerances."""

    def __init__(
        self,
        receipt: Receipt,
        baseline_ranking: Ranking,
        new_ranking: Ranking,
        tolerance: float,
        latency_tolerance: float,
    ) -> None:
        self.baseline_ranking, self.tolerance, self.latency_tolerance = baseline_ranking, tolerance, latency_tolerance
        self.new_models = {model.name: model for model in new_ranking}
        before = {model.name: model for model in receipt.models}
        self.of_models = {model.name: model_causes(before[model.name], model) for model in new_ranking.receipt.models}
        self.of_data = data_causes(receipt, new_ranking.receipt)
        self.of_environment = environment_causes(receipt, new_ranking.receipt)

    def findings(self, criterion: str) -> Iterator[Finding]:
        by = {"score": self.scores, "rank": self.ranks, "latency": self.latencies, "size": self.sizes}
        return by[criterion]()

    def changes(self) -> list[str]:
        of_models = [f"{cause} ({name})" for name, causes in self.of_models.items() for cause in causes]
        return self.of_data + of_models + self.of_environment

    def causes(self, *models: str, of_data: bool = True) -> tuple[str, ...]:
        """Return possible causes of a failure that involves these models."""
        of_models = [cause for model in models for cause in self.of_models.get(model, [])]
        return tuple((self.of_data if of_data else []) + of_models + self.of_environment) or (UNKNOWN,)

    def scores(self) -> Iterator[Finding]:
        for model in self.baseline_ranking:
            for name, score in model.scores.items():
                if is_relative(name):
                    continue
                was, now = score.value, self.new_models[model.name].scores[name].value
                allowed = max(self.tolerance * (score.standard_error or 0), LEAST)
                failed = not abs(now - was) <= allowed
                causes = self.causes(model.name) if failed else ()
                yield Finding("score", model.name, name, was, now, allowed, failed, causes)

    def ranks(self) -> Iterator[Finding]:
        by = self.baseline_ranking.ranked_by
        for better, other in itertools.combinations(self.baseline_ranking, 2):
            better_now, other_now = self.new_models[better.name], self.new_models[other.name]
            apart = better.scores[by].value - other.scores[by].value
            now = better_now.scores[by].value - other_now.scores[by].value
            tied = other.name in better.tied_with or other.name in better_now.tied_with
            failed = not tied and apart * now < 0
            what = TIED_ORDER if tied else "order"
            causes = self.causes(better.name, other.name) if failed else ()
            yield Finding("rank", f"{better.name} and {other.name}", what, apart, now, 0.0, failed, causes)

    def latencies(self) -> Iterator[Finding]:
        for model in self.baseline_ranking:
            before, cost = model.cost, self.new_models[model.name].cost
            assert before is not None  # see _same_place
            assert cost is not None
            was, now = before.relative_latency, cost.relative_latency
            allowed = self.latency_tolerance * was
            failed = not now <= was + allowed
            doubtful = "relative_latency" in cost.doubtful
            causes = self.causes(model.name, of_data=False) if failed or doubtful else ()
            yield Finding("latency", model.name, "latency", was, now, allowed, failed, causes, doubtful)

    def sizes(self) -> Iterator[Finding]:
        for model in self.baseline_ranking:
            was, now = model.size_bytes or 0, self.new_models[model.name].size_bytes or 0
            allowed = SIZE_TOLERANCE * was
            failed = now > was + allowed
            causes = (self.of_models[model.name] or [UNKNOWN]) if failed else []
            yield Finding("size", model.name, "size", was, now, allowed, failed, tuple(causes))


def _measured_again(
    findings: Sequence[Finding], receipt: Receipt, models: Sequence[StrPath], context: RunContext
) -> list[Finding]:
    """Repeat failed or doubtful latency measurements for longer; the median of those not in doubt counts."""
    paths = zip(receipt.models, find_again(receipt, models), strict=True)
    files = {model.name: ModelFile.read(path) for model, path in paths}
    context = dataclasses.replace(context, measure_seconds=SECONDS)

    def again(finding: Finding) -> Finding:
        measured = [] if finding.doubtful else [finding.now]
        for _ in range(MEASUREMENTS - 1):
            why = "in doubt" if finding.doubtful else f"{finding.now / finding.was:.2f} times the baseline"
            context.progress.notice(f"latency of {finding.model}: {why}; measuring again")
            (cost,) = measure_costs([files[finding.model]], context)
            if "relative_latency" not in cost.doubtful:
                measured.append(cost.relative_latency)
        if not measured:
            return dataclasses.replace(finding, failed=False, causes=(), doubtful=True)
        now = statistics.median(measured)
        failed = not now <= finding.was + finding.allowed
        causes = finding.causes if failed else ()
        return dataclasses.replace(finding, now=now, failed=failed, causes=causes, doubtful=False)

    return [
        again(finding) if finding.criterion == "latency" and (finding.failed or finding.doubtful) else finding
        for finding in findings
    ]
