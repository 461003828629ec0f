"""Formatting of costs for table cells."""

from __future__ import annotations

from leepfrog.costs.cost import Cost


def milliseconds(cost: Cost | None, name: str = "latency", digits: int = 1) -> str:
    """Format `latency` or `latency_p95` in ms, prefixed with "~" if in doubt; "" if unknown."""
    return "" if cost is None else f"{_doubt(cost, name)}{1e3 * getattr(cost, name):.{digits}f}"


def images_per_second(cost: Cost | None, digits: int = 0) -> str:
    """Format the throughput in images per second, prefixed with "~" if in doubt; "" if unknown."""
    return "" if cost is None else f"{_doubt(cost, 'throughput')}{cost.throughput:.{digits}f}"


def megabytes(n_bytes: int | None, digits: int = 0) -> str:
    """Format a number of bytes in megabytes; "" if unknown."""
    return "" if n_bytes is None else f"{n_bytes / 1e6:.{digits}f}"


def millions(count: int | None, digits: int = 0) -> str:
    """Format a count in millions; "" if unknown."""
    return "" if count is None else f"{count / 1e6:.{digits}f}"


def _doubt(cost: Cost, name: str) -> str:
    return "~" if name in cost.doubtful else ""
