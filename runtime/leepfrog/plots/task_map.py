"""Plot of a library of tasks: the clustered matrix of distances, and the tasks on a plane."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leepfrog.plots.figure import COLORS, drawing, encoded, new_figure
from leepfrog.task2vec.layout import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

Floats = NDArray[np.float64]

# With more tasks than this, their names would overlap.
MAX_ROWS_NAMED = 60
MAX_POINTS_NAMED = 40
LONGEST = 32


def draw_task_map(
    title: str, names: Sequence[str], distances: Floats, noise: Floats, layout: Layout, ending: str
) -> bytes:
    """Return the plot of a library as the content of a PNG, SVG or HTML file.

    Args:
        title: title of the plot.
        names: printable names of the tasks.
        distances: symmetric distances between the tasks, [T, T].
        noise: distance to expect between two samples of each task, [T].
        layout: layout computed from these distances.
        ending: file extension, ".png", ".svg" or ".html".
    """
    with drawing():
        n = len(names)
        figure = new_figure(15, 7)
        matrix_axes, plane_axes = figure.subplots(1, 2, width_ratios=(1.15, 1))
        # Task names are literal text: with math parsing, a dollar sign would start a formula.
        figure.suptitle(_plain(title), parse_math=False)
        order = layout.order
        shown = matrix_axes.imshow(distances[np.ix_(order, order)], cmap="viridis_r", vmin=0, interpolation="nearest")
        figure.colorbar(shown, ax=matrix_axes, label="symmetric distance", shrink=0.8)
        if n <= MAX_ROWS_NAMED:
            size = max(4.0, min(9.0, 420 / n))
            labels = [_plain(names[i]) for i in order]
            matrix_axes.set_yticks(range(n), labels, fontsize=size, parse_math=False)
            for text, i in zip(matrix_axes.get_yticklabels(), order, strict=True):
                text.set_color(_color(layout, i))
        else:
            matrix_axes.set_yticks([])
        matrix_axes.set_xticks([])
        matrix_axes.set_title(f"{n} tasks, clustered")

        for i in range(n):
            x, y = layout.places[i]
            plane_axes.plot(x, y, "o", color=_color(layout, i), ms=7 if n <= 100 else 3.5, gid=f"task-{i}", alpha=0.8)
            if n <= MAX_POINTS_NAMED:
                plane_axes.annotate(
                    _plain(names[i]), (x, y), (4, 3), textcoords="offset points", fontsize=7, parse_math=False
                )
        plane_axes.set_aspect("equal", adjustable="box")
        plane_axes.set_title(f"on a plane (correlation with the distances: {layout.faithfulness:.2f})")
        # Bar of the mean noise: dots closer than this may be samples of one task.
        level = float(np.nanmean(noise)) if np.isfinite(noise).any() else 0.0
        if level > 0:
            plane_axes.plot([0, level], [0.03, 0.03], "k-", lw=2, transform=_mixed(plane_axes))
            plane_axes.annotate("noise", (level / 2, 0.04), xycoords=_mixed(plane_axes), ha="center", fontsize=7)
        titles = {f"task-{i}": names[i] for i in range(n)}
        return encoded(figure, ending, titles, _table(names, distances, noise, layout))


def _mixed(axes: Axes) -> Transform:
    """Return the transform with x in data coordinates and y as a fraction of the axes' height."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transData, axes.transAxes)


def _table(names: Sequence[str], distances: Floats, noise: Floats, layout: Layout) -> str:
    """Return an HTML table of the tasks and their nearest tasks, in the order of the matrix."""
    others = distances + np.diag(np.full(len(names), np.inf))
    nearest = others.argmin(axis=1)
    rows = []
    for i in layout.order:
        j = int(nearest[i])
        rows.append(
            f'<tr><td style="color:{_color(layout, i)}">&#9679;</td><td>{html.escape(names[i])}</td>'
            f'<td class="n">{noise[i]:.3f}</td><td>{html.escape(names[j])}</td>'
            f'<td class="n">{others[i, j]:.3f}</td></tr>'
        )
    head = '<tr><th></th><th>task</th><th class="n">noise</th><th>nearest</th><th class="n">distance</th></tr>'
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _color(layout: Layout, task: int) -> str:
    return COLORS[layout.clusters[task] % len(COLORS)]


def _plain(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 13]}…{name[-12:]}"
