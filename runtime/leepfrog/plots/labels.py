"""Placement of point labels that keeps them readable. Nothing is drawn: floats in, offsets out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Average character width and line height of common sans-serif fonts, as fractions of the font size.
CHARACTER, LINE = 0.6, 1.2

# Gap between a label and its point, in pixels, and further distances, in lines, to try if that is not free.
GAP = 3.0
FURTHER = (1.0, 2.0, 3.0, 4.0, 5.5, 7.0, 10.0, 14.0)

# Number of small boxes that approximate the line from a label to its point.
STEPS = 8

# Penalty of covering a point or another label, relative to covering a line.
FORBIDDEN = 1e6

# Directions from a point to its label: right, left, above, below, then the diagonals.
AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def text_size(text: str, font_size: float) -> tuple[float, float]:
    """Return the approximate width and height of a line of text, in the unit of `font_size`."""
    return CHARACTER * font_size * len(text), LINE * font_size


def place_labels(
    points: ArrayLike,
    sizes: ArrayLike,
    area: tuple[float, float, float, float],
    *,
    radius: float = 4.0,
    obstacles: ArrayLike = (),
) -> Floats:
    """Choose a place for each label, in the order given.

    A label takes the first candidate place (right, left, above, below, diagonal, then the same further away) where it
    overlaps no earlier label and no point; if there is none, it takes the one with the least overlap. It moves a little
    further away, or to another side, to avoid obstacles and the lines between labels and points. Candidates that would
    leave the area are moved into it.

    Args:
        points: positions (x, y) of the points, [n, 2], in pixels.
        sizes: (width, height) of each point's label, [n, 2], in pixels, the most important first.
        area: (min x, min y, max x, max y), in pixels. A label exceeds it only if it is larger.
        radius: radius of the points' markers, in pixels.
        obstacles: boxes in the format of `area` that labels should avoid, such as lines.

    Returns:
        Offset from each point to its label's center, [n, 2]. y may point up or down; "above" means greater y.
    """
    at = np.asarray(points, np.float64).reshape(-1, 2)
    extents = np.asarray(sizes, np.float64).reshape(-1, 2)
    bounds = np.asarray(area, np.float64)
    marks = np.hstack([at - radius, at + radius])
    placed = np.empty((0, 4))
    thin = np.asarray(obstacles, np.float64).reshape(-1, 4)
    offsets = np.empty_like(at)
    for i, (point, size) in enumerate(zip(at, extents, strict=True)):
        wanted = point + _candidates(size, radius) - size / 2
        lower = np.maximum(np.minimum(wanted, bounds[2:] - size), bounds[:2])
        boxes, centers = np.hstack([lower, lower + size]), lower + size / 2 - point
        lines, lengths = _leaders(centers, size, radius)
        along = point + lines[:, :1] + np.linspace(0, 1, STEPS)[:, None] * (lines[:, 1:] - lines[:, :1])
        steps = np.concatenate([along - 1, along + 1], axis=2)
        others = np.vstack([np.delete(marks, i, axis=0), placed])
        crossed = _overlaps(steps.reshape(-1, 4), others).reshape(len(boxes), STEPS).sum(axis=1)
        costs = FORBIDDEN * _overlaps(boxes, np.vstack([marks, placed])) + _overlaps(boxes, thin)
        costs += np.where(lengths > 0, crossed + lengths, 0)
        best = int(costs.argmin())  # the first if several are equal
        placed = np.vstack([placed, boxes[best]])
        if lengths[best]:
            thin = np.vstack([thin, steps[best]])
        offsets[i] = centers[best]
    return offsets


def leader(offset: ArrayLike, size: ArrayLike, radius: float = 4.0) -> Floats | None:
    """Return the line between a point and its label, or None if the label is next to the point.

    Args:
        offset: offset from the point to the label's center, in pixels, y as in `place_labels`.
        size: (width, height) of the label, in pixels.
        radius: radius of the point's marker, in pixels.

    Returns:
        Both ends of the line relative to the point, [2, 2]; the second is on the label.
    """
    lines, lengths = _leaders(np.asarray(offset, np.float64)[None], np.asarray(size, np.float64), radius)
    return lines[0] if lengths[0] else None


def _leaders(offsets: Floats, size: Floats, radius: float) -> tuple[Floats, Floats]:
    """Return lines from a point's marker to each candidate label, [m, 2, 2], and their lengths, [m], 0 for no line."""
    nearest = np.clip(0.0, offsets - size / 2, offsets + size / 2)
    away = np.hypot(*nearest.T)
    starts = nearest * (radius / np.maximum(away, radius))[:, None]
    # Among the places next to the point, the diagonal ones are the furthest away.
    lengths = np.where(away > 1.5 * (radius + GAP), away - radius, 0.0)
    return np.stack([starts, nearest], axis=1), lengths


def _candidates(size: Floats, radius: float) -> Floats:
    """Return the candidate centers of a label relative to its point, best first, [m, 2]."""
    beside = radius + GAP
    signs = np.array(AROUND, np.float64)
    places = [signs * (beside + size / 2)]
    for lines in FURTHER:
        away = beside + lines * size[1]
        # Labels are wide: shift them vertically first, so that few end up far away.
        slanted = signs[4:] * (np.array([beside, away]) + size / 2)
        places += [slanted, signs * (away + size / 2)]
    return np.concatenate(places)


def _overlaps(boxes: Floats, taken: Floats) -> Floats:
    """Return the overlap of each box [m, 4] with the boxes of `taken`, summed over those, in square pixels, [m]."""
    sides = np.minimum(boxes[:, None, 2:], taken[None, :, 2:]) - np.maximum(boxes[:, None, :2], taken[None, :, :2])
    covered: Floats = np.maximum(sides, 0).prod(axis=2).sum(axis=1)
    return covered
