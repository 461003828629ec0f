"""Plot of score against latency, with the front of models that no other model beats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import UsageError
from leepfrog.plots.figure import COLORS, drawing, encoded, new_figure
from leepfrog.plots.labels import leader, place_labels
from leepfrog.ranking.score_format import format_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from leepfrog.ranking.result import Ranking

INSIDE, OUTSIDE = COLORS[0], COLORS[6]

# Font size of model names and size of their markers, in points.
NAME, MARK = 8.0, 7.0


def draw_cost_front(ranking: Ranking, ending: str) -> bytes:
    """Return the plot of a ranking as the content of a PNG, SVG or HTML file.

    Args:
        ranking: the ranking, whose scores, intervals and costs are drawn.
        ending: file extension, ".png", ".svg" or ".html".
    """
    titles = {f"model-{model.rank - 1}": model.name for model in ranking.models}
    return encoded(cost_front(ranking), ending, titles)


def cost_front(ranking: Ranking) -> Figure:
    """Return the figure; the gid of each model's point is "model-" and its index in the ranking, from 0.

    Raises:
        UsageError: no model's cost is known.
    """
    if not ranking.priced:
        raise UsageError("cannot plot score against latency: no model's cost is known")
    with drawing():
        figure = new_figure(9, 5.5)
        axes = figure.subplots()
        by, limit, shown = ranking.ranked_by, ranking.budget.latency, format_of(ranking.ranked_by)
        for model, cost in ranking.priced:
            score, x = model.scores[by], 1e3 * cost.latency
            low, high = (shown.factor * end for end in score.interval or (score.value, score.value))
            color = OUTSIDE if model.outside else INSIDE
            axes.plot([x, x], [low, high], "-", color=color, lw=1, alpha=0.6)
            face = color if model.on_front else "white"
            marker = "x" if model.outside else "o"
            axes.plot(
                x, shown.factor * score.value, marker, color=color, mfc=face, ms=MARK, gid=f"model-{model.rank - 1}"
            )
        front = sorted(
            (cost.latency, shown.factor * model.scores[by].value) for model, cost in ranking.priced if model.on_front
        )
        corners = [(later[0], earlier[1]) for earlier, later in itertools.pairwise(front)]
        steps = sorted([*front, *corners], key=lambda at: (at[0], at[1]))
        axes.plot([1e3 * t for t, _ in steps], [s for _, s in steps], color=INSIDE, lw=1, ls=":")
        if limit is not None:
            axes.axvline(1e3 * limit, color=OUTSIDE, lw=1)
            axes.annotate(
                "budget", (1e3 * limit, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
                va="top", fontsize=NAME, color=OUTSIDE,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:g}")[0] in "25" else "")
        cost = ranking.priced[0][1]
        axes.set_xlabel(f"ms per image, {cost.threads} threads, {cost.place_in_words}", parse_math=False)
        axes.set_ylabel(f"{shown.words}{shown.unit and f' in{shown.unit}'}, with its 90 % interval", parse_math=False)
        axes.set_title(
            f"{ranking.n_images} images of {len(ranking.classes)} classes from {ranking.data}"
            "\nfilled: no other model is both as good and as fast; crosses: over the budget"
            + ("; ~ latency in doubt" if any(model.latency_in_doubt for model in ranking.models) else ""),
            parse_math=False, fontsize=9,
        )  # fmt: skip
        axes.margins(x=0.12)
        _name_points(figure, axes, ranking)
        return figure


def _name_points(figure: Figure, axes: Axes, ranking: Ranking) -> None:
    """Label the points with model names, best first, avoiding the points and everything drawn so far."""
    figure.draw_without_rendering()  # computes the layout, and with it pixel positions
    axes.autoscale(False)
    pixels = figure.dpi / 72  # pixels per point (1/72 inch)
    radius = MARK / 2 * pixels
    obstacles = list(_boxes(axes))
    to_pixels, to_data = axes.transData.transform, axes.transData.inverted().transform
    factor = format_of(ranking.ranked_by).factor
    names = [
        axes.annotate(
            "~" * model.latency_in_doubt + model.name,
            (1e3 * cost.latency, factor * model.scores[ranking.ranked_by].value), (0, 0),
            textcoords="offset points", ha="center", va="center", fontsize=NAME,
            color=OUTSIDE if model.outside else INSIDE, parse_math=False, in_layout=False,
        )
        for model, cost in ranking.priced
    ]  # fmt: skip
    points = [to_pixels(name.xy) for name in names]
    sizes = [name.get_window_extent().size for name in names]
    offsets = place_labels(points, sizes, axes.bbox.extents, radius=radius, obstacles=obstacles)
    for name, point, size, offset in zip(names, points, sizes, offsets, strict=True):
        name.xyann = offset / pixels
        line = leader(offset, size, radius)
        if line is not None:
            axes.plot(*to_data(point + line).T, "-", color=name.get_color(), lw=0.5, alpha=0.7)


def _boxes(axes: Axes) -> Iterator[NDArray[np.float64]]:
    """Yield the bounding box (min x, min y, max x, max y) of each line segment and each text, in pixels."""
    for line in axes.lines:
        for ends in itertools.pairwise(line.get_transform().transform(line.get_xydata())):
            yield np.concatenate([np.min(ends, axis=0) - 1, np.max(ends, axis=0) + 1])
    for text in axes.texts:
        yield np.array(text.get_window_extent().extents)
