"""Score against latency, with the models that no other beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leepfrog.plots.figure import COLOURS, SETTINGS, encoded, new_figure

if TYPE_CHECKING:
    from leepfrog.ranking.result import Ranking

INSIDE, OUTSIDE = COLOURS[0], COLOURS[6]


def draw_cost_front(ranking: Ranking, ending: str) -> bytes:
    """A PNG, SVG or HTML file's content.

    Args:
        ranking: its models' scores, intervals and costs.
        ending: ".png", ".svg" or ".html".
    """
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(9, 5.5)
        axes = figure.subplots()
        by, limit = ranking.ranked_by, ranking.budget.latency
        for i, model in enumerate(ranking.models):
            score, x = model.scores[by], 1e3 * model.cost.latency
            low, high = score.interval or (score.value, score.value)
            colour = OUTSIDE if model.outside else INSIDE
            axes.plot([x, x], [low, high], "-", color=colour, lw=1, alpha=0.6)
            face = colour if model.on_front else "white"
            marker = "x" if model.outside else "o"
            axes.plot(x, score.value, marker, color=colour, mfc=face, ms=7, gid=f"model-{i}")
            axes.annotate(
                model.name, (x, score.value), (6, -11 if _crowded(ranking, i) else 4), textcoords="offset points",
                fontsize=8, color=colour, parse_math=False,
            )  # fmt: skip
        front = sorted((model.cost.latency, model.scores[by].value) for model in ranking.models if model.on_front)
        axes.step([1e3 * t for t, _ in front], [s for _, s in front], where="post", color=INSIDE, lw=1, ls=":")
        if limit is not None:
            axes.axvline(1e3 * limit, color=OUTSIDE, lw=1)
            axes.annotate(
                "budget", (1e3 * limit, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
                va="top", fontsize=8, color=OUTSIDE,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:g}")[0] in "25" else "")
        axes.set_xlabel(f"ms an image, {ranking.models[0].cost.threads} threads, this machine")
        axes.set_ylabel(f"{by} with 90 % interval", parse_math=False)
        axes.set_title(
            f"{ranking.n_images} images of {len(ranking.classes)} classes from {ranking.data}"
            "\nfilled: no other model is as good and as quick; crosses: outside the budget",
            parse_math=False, fontsize=9,
        )  # fmt: skip
        axes.margins(x=0.12)
        titles = {f"model-{i}": model.name for i, model in enumerate(ranking.models)}
        return encoded(figure, ending, titles)


def _crowded(ranking: Ranking, i: int) -> bool:
    """Whether a better model's name would stand where this one's would."""
    by, models = ranking.ranked_by, ranking.models
    values = [model.scores[by].value for model in models]
    height = (max(values) - min(values)) or 1.0
    return any(
        0.5 < models[j].cost.latency / models[i].cost.latency < 2 and abs(values[j] - values[i]) < 0.03 * height
        for j in range(i)
    )
