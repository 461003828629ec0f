"""Announcement of long work before it starts: how much inference is needed, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

from leepfrog.costs.cost import Cost
from leepfrog.inference.model import ModelFile

# Forward passes of single images from which on the work is announced.
LONG = 2000
# Decoding and resizing take time as well, which partly overlaps inference.
OVERHEAD = 1.2


def seconds_needed(missing: Sequence[int], costs: Sequence[Cost | None]) -> float | None:
    """Return the time of the missing forward passes of each model, in seconds; None if a cost is unknown.

    >>> seconds_needed([0, 0], [None, None])
    0.0
    """
    seconds = 0.0
    for n, cost in zip(missing, costs, strict=True):
        if n and (cost is None or not cost.measured_here):
            return None
        seconds += n / cost.throughput if n and cost is not None else 0.0
    return OVERHEAD * seconds


def plan(
    models: Sequence[ModelFile], n_images: int, missing: Sequence[int], costs: Sequence[Cost | None], racing: bool
) -> str:
    """Return the announcement in one sentence.

    Args:
        models: the models.
        n_images: number of images.
        missing: number of forward passes that each model still needs.
        costs: cost of each model, None if unknown.
        racing: whether models may be dropped early.
    """
    text = f"{len(models)} models x {n_images:,} images"
    if (cached := len(models) * n_images - sum(missing)) > 0:
        text += f", {cached:,} of {len(models) * n_images:,} outputs cached"
    seconds = seconds_needed(missing, costs)
    if seconds is None:
        return text
    text += f", {'at most ' * racing}about {_duration(seconds)} here"
    return text if racing else f"{text}; --race may need less"


def _duration(seconds: float) -> str:
    """Return a duration in words, rounded.

    >>> _duration(44), _duration(400), _duration(9000)
    ('40 seconds', '7 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
