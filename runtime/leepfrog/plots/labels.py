"""Where the names of points go in a picture, so that they can be read. No drawing: floats in, offsets out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Of a common sans-serif font, in parts of its size: the width of a character on average, the height of a line.
CHARACTER, LINE = 0.6, 1.2

# Between a label and its point, in pixels, and how many lines further off it may go where the near places are taken.
GAP = 3.0
FURTHER = (1.0, 2.0, 3.0, 4.0, 5.5, 7.0, 10.0, 14.0)

# How many small boxes stand for a label's line to its point.
STEPS = 8

# How much worse it is to cover a point or another label than to cover a line.
FORBIDDEN = 1e6

# Right, left, above, below, then the diagonals, as signs of a label's place against its point.
AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def text_size(text: str, font_size: float) -> tuple[float, float]:
    """About how wide and high a line of text is, in the unit of `font_size`."""
    return CHARACTER * font_size * len(text), LINE * font_size


def place_labels(
    points: ArrayLike,
    sizes: ArrayLike,
    area: tuple[float, float, float, float],
    *,
    radius: float = 4.0,
    obstacles: ArrayLike = (),
) -> Floats:
    """Choose a place for each label, the first labels first.

    A label takes the first of its candidate places (right, left, above, below, diagonal, then the same further off) at
    which it overlaps no earlier label and no point; where there is none, the one with the least overlap. It goes a
    little further off, or to another side, to keep clear of obstacles and of lines between labels and points.
    Candidates that would leave the area are moved into it.

    Args:
        points: n points (x, y), in pixels.
        sizes: the labels' (width, height), in pixels, in the points' order: the most important first.
        area: (least x, least y, greatest x, greatest y), in pixels. A label leaves it only if it is larger.
        radius: of the points' marks, in pixels.
        obstacles: boxes, as `area`, that labels had better not cover, such as lines.

    Returns:
        [n, 2], from each point to its label's centre. y may point up or down; "above" is towards greater y.
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
        best = int(costs.argmin())  # the first of equals
        placed = np.vstack([placed, boxes[best]])
        if lengths[best]:
            thin = np.vstack([thin, steps[best]])
        offsets[i] = centers[best]
    return offsets


def leader(offset: ArrayLike, size: ArrayLike, radius: float = 4.0) -> Floats | None:
    """The line that ties a label to a point that it does not stand beside, None where it does.

    Args:
        offset: from the point to the label's centre, in pixels, y as in `place_labels`.
        size: the label's (width, height), in pixels.
        radius: of the point's mark, in pixels.

    Returns:
        [2, 2]: both ends of the line, from the point; the second is the label's nearest point.
    """
    lines, lengths = _leaders(np.asarray(offset, np.float64)[None], np.asarray(size, np.float64), radius)
    return lines[0] if lengths[0] else None


def _leaders(offsets: Floats, size: Floats, radius: float) -> tuple[Floats, Floats]:
    """Lines from a point's mark to each of the places of its label, [m, 2, 2], and their lengths, [m], 0 for none."""
    nearest = np.clip(0.0, offsets - size / 2, offsets + size / 2)
    away = np.hypot(*nearest.T)
    starts = nearest * (radius / np.maximum(away, radius))[:, None]
    # Diagonal places are the furthest of those beside the point.
    lengths = np.where(away > 1.5 * (radius + GAP), away - radius, 0.0)
    return np.stack([starts, nearest], axis=1), lengths


def _candidates(size: Floats, radius: float) -> Floats:
    """Centres of the places that a label may take, from its point, best first, [m, 2]."""
    beside = radius + GAP
    signs = np.array(AROUND, np.float64)
    places = [signs * (beside + size / 2)]
    for lines in FURTHER:
        away = beside + lines * size[1]
        # Labels are wide: first higher or lower and no further aside, so that few are far off.
        slanted = signs[4:] * (np.array([beside, away]) + size / 2)
        places += [slanted, signs * (away + size / 2)]
    return np.concatenate(places)


def _overlaps(boxes: Floats, taken: Floats) -> Floats:
    """How much of each box [m, 4] is covered by the boxes of `taken`, summed over these, in square pixels, [m]."""
    sides = np.minimum(boxes[:, None, 2:], taken[None, :, 2:]) - np.maximum(boxes[:, None, :2], taken[None, :, :2])
    covered: Floats = np.maximum(sides, 0).prod(axis=2).sum(axis=1)
    return covered
