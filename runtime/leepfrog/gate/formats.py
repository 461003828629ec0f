"""Output formats of a check: text, GitHub annotations, JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from leepfrog.errors import counted
from leepfrog.escape import plain
from leepfrog.gate.check import TIED_ORDER, Check, Finding


def as_text(check: Check) -> str:
    """Format as plain text: failures with possible causes, and the number of values judged."""
    lines = []
    for criterion, model, message, causes in _failures(check):
        lines.append(f"FAILED {criterion}: {model}: {message}")
        lines += [f"    why: {cause}" for cause in causes]
    lines += [f"NOT JUDGED {finding.criterion}: {finding.model}: {finding.message}" for finding in check.undecided]
    if check.passed:
        lines += [f"changed without causing a failure: {change}" for change in check.changes]
    return "\n".join(map(plain, [*lines, _verdict(check)]))


def as_github(check: Check) -> str:
    """Format as GitHub workflow commands: one annotation per failed model and criterion, and a summary notice."""
    lines = [
        f"::error title={_property(f'leepfrog {criterion}: {model}')}::{_data('; '.join([message, *causes]))}"
        for criterion, model, message, causes in _failures(check)
    ]
    lines += [
        f"::warning title={_property(f'leepfrog {finding.criterion}: {finding.model}')}::{_data(finding.message)}"
        for finding in check.undecided
    ]
    return "\n".join([*lines, f"::notice title=leepfrog check::{_data(_verdict(check))}"])


def _failures(check: Check) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Yield criterion, model, message and causes of each failure, with all scores of a model in one entry."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for finding in check.failures:
        groups.setdefault((finding.criterion, finding.model, finding.causes), []).append(finding.message)
    for (criterion, model, causes), messages in groups.items():
        yield criterion, model, ", ".join(messages), causes


def _verdict(check: Check) -> str:
    n_tied = sum(finding.what == TIED_ORDER for finding in check.findings)
    counts = [
        counted(sum(finding.criterion == criterion for finding in check.findings), _UNITS[criterion])
        + (f" ({n_tied} tied)" if criterion == "rank" and n_tied else "")
        for criterion in check.criteria
    ]
    n = len(check.findings)
    said = [f"failed: {len(check.failures)} of {n}"] if check.failures else []
    said += [f"not judged: {len(check.undecided)} of {n}"] if check.undecided else []
    return f"{', '.join(said) or 'passed'}; judged against {check.baseline}: {', '.join(counts)}"


_UNITS = {"score": "score", "rank": "pair of models", "latency": "latency", "size": "size"}


def _data(text: str) -> str:
    return plain(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_junit(check: Check) -> str:
    """Format as JUnit XML, with one test case per finding."""
    suite = ElementTree.Element(
        "testsuite",
        name="leepfrog check",
        tests=str(len(check.findings)),
        failures=str(len(check.failures)),
        errors=str(len(check.undecided)),
        skipped="0",
        timestamp=check.receipt.started,
        time=str(check.receipt.seconds),
    )
    for finding in check.findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"leepfrog.{finding.criterion}", name=_title(finding)
        )
        if finding.failed:
            message = plain(f"{finding.model}: {finding.message}")
            failure = ElementTree.SubElement(case, "failure", message=message, type=finding.criterion)
            failure.text = "\n".join(map(plain, finding.causes))
        if finding.doubtful:
            ElementTree.SubElement(case, "error", message=plain(f"{finding.model}: {finding.message}"), type="doubt")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False)


def _title(finding: Finding) -> str:
    return plain(f"{finding.model} {finding.what}" if finding.criterion == "score" else finding.model)
