"""Layout of the report's plot of score against latency; a template turns it into SVG.

The plot is laid out twice, for wide and for narrow screens, so that text does not shrink with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from leepfrog.costs.formatting import milliseconds
from leepfrog.plots.labels import LINE, leader, place_labels
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.score_format import format_of
from leepfrog.ranking.sentences import over_budget
from leepfrog.ranking.table import interval_text, score_text

# Longer names are truncated in labels and tooltips.
LONGEST_NAME = 34
# Average width of a letter, as a fraction of the font size.
LETTER = 0.56
# Radius of the points' markers.
RADIUS = 6.0

_Place = tuple[float, float]
_Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Size and margins of a plot, in user units, which are CSS pixels if the plot is not scaled.

    Attributes:
        name: identifies the plot within the page.
        width, height: total size.
        left, top, right, bottom: margins around the axes.
        font: font size.
        most_names, most_labels: number of models labelled by name, and number of the best labelled at least by rank.
        longest_name: maximum length of a label; wide letters take more room than estimated.
    """

    name: str
    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    font: int
    most_names: int
    most_labels: int
    longest_name: int


WIDE = Canvas("wide", 900, 496, 56, 78, 24, 50, 13, 12, 60, LONGEST_NAME)
NARROW = Canvas("narrow", 340, 496, 40, 82, 10, 50, 13, 6, 30, 24)


@dataclasses.dataclass(frozen=True)
class Tick:
    """A tick on an axis."""

    at: float
    text: str


@dataclasses.dataclass(frozen=True)
class Label:
    """A text label: the middle of its baseline, and the line (x1, y1, x2, y2) to its point, if that is not adjacent."""

    text: str
    x: float
    y: float
    leader: list[float] | None


@dataclasses.dataclass(frozen=True)
class Point:
    """A model in the plot.

    Attributes:
        rank: rank of the model, which identifies its row in the table.
        kind: "front", "inside" (within the budget, not on the front) or "outside" (over the budget).
        x, y: position of its marker.
        low, high: y of the ends of its interval.
        label: name or rank of the model, or None if there are too many models.
        name, score, cost: lines of its tooltip and parts of its accessible label.
    """

    rank: int
    kind: str
    x: float
    y: float
    low: float
    high: float
    label: Label | None
    name: str
    score: str
    cost: str


@dataclasses.dataclass(frozen=True)
class Front:
    """Layout of the whole plot.

    Attributes:
        canvas: size and margins.
        x_ticks, y_ticks: ticks of latency, in ms, and of the score.
        x_title: title of the latency axis.
        y_title: title of the score axis.
        points: the models, best first.
        steps: corners of the line along the front, in the format of SVG's `points`.
        budget, budget_label: x of the latency limit, and its label; None if there is no limit.
        description: description of the plot in words.
    """

    canvas: Canvas
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    points: tuple[Point, ...]
    steps: str
    budget: float | None
    budget_label: Label | None
    description: str


def front(ranking: Ranking, canvas: Canvas) -> Front:
    """Lay out a ranking's models by latency, on a logarithmic axis, and by score, with 90 % intervals."""
    by, models = ranking.ranked_by, tuple(model for model, _ in ranking.priced)
    shown = format_of(by)
    costs = [cost for _, cost in ranking.priced]
    latencies = [1e3 * cost.latency for cost in costs]
    limit = None if ranking.budget.latency is None else 1e3 * ranking.budget.latency
    bounds = [_bounds(model, by) for model in models]
    x = _Axis.logarithmic([*latencies, *([] if limit is None else [limit])], canvas.left, canvas.width - canvas.right)
    y = _Axis.linear([end for pair in bounds for end in pair], canvas.height - canvas.bottom, canvas.top)
    places = [
        (x(latency), y(shown.factor * model.scores[by].value)) for latency, model in zip(latencies, models, strict=True)
    ]
    ends = [(y(low), y(high)) for low, high in bounds]
    corners = _corners(sorted(place for model, place in zip(models, places, strict=True) if model.on_front))
    obstacles = [(px - 1, high, px + 1, low) for (px, _), (low, high) in zip(places, ends, strict=True)]
    obstacles += [_around(one, other) for one, other in itertools.pairwise(corners)]
    edge = None if limit is None else x(limit)
    budget_label = None
    if edge is not None:
        budget_label, box = _beside(edge, canvas)
        obstacles += [(edge - 1, canvas.top, edge + 1, canvas.height - canvas.bottom), box]
    labels = _labels(_texts(models, canvas), places, obstacles, canvas)
    points = tuple(
        Point(model.rank, _kind(model), *place, *end, label, _cut(model.name), _score(model, by), _cost(model))
        for model, place, end, label in zip(models, places, ends, labels, strict=True)
    )
    return Front(
        canvas=canvas,
        x_ticks=tuple(Tick(x(value), f"{value:g}") for value in x.log_ticks(9)),
        y_ticks=tuple(Tick(y(value), f"{value:g}") for value in y.ticks(6)),
        x_title=f"ms per image, {costs[0].threads} threads, {costs[0].place_in_words}",
        y_title=f"{shown.title}, with its 90 % interval",
        points=points,
        steps=" ".join(f"{px:g},{py:g}" for px, py in corners),
        budget=edge,
        budget_label=budget_label,
        description=_description(ranking),
    )


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Map from values in `low` to `high` to positions in `start` to `end`; logarithmic if `is_log`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    @classmethod
    def logarithmic(cls, values: list[float], start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        spare = max(1.15, 2.5 / math.sqrt(high / low))  # at least a factor of five, for two ticks or more
        return cls(low / spare, high * spare, start, end, True)

    @classmethod
    def linear(cls, values: list[float], start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        spare = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(low - spare, high + spare, start, end, False)

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low) if self.is_log else (
            (value - self.low) / (self.high - self.low)
        )  # fmt: skip
        return round(self.start + part * (self.end - self.start), 1)

    def log_ticks(self, most: int) -> list[float]:
        """Return 1, 2 and 5 times powers of ten, or only the powers if those are more than `most`."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1,)):
            ticks = [step * 10.0**power for power in powers for step in steps]
            ticks = [value for value in ticks if self.low <= value <= self.high]
            if len(ticks) <= most:
                break
        return ticks

    def ticks(self, most: int) -> list[float]:
        """Return multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
        return [n * step + 0.0 for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _bounds(model: RankedModel, by: str) -> tuple[float, float]:
    score, factor = model.scores[by], format_of(by).factor
    low, high = score.interval or (score.value, score.value)
    return factor * low, factor * high


def _kind(model: RankedModel) -> str:
    return "outside" if model.outside else "front" if model.on_front else "inside"


def _score(model: RankedModel, by: str) -> str:
    return f"{format_of(by).title} {score_text(model, by)} ({interval_text(model, by)})"


def _cost(model: RankedModel) -> str:
    where = {"outside": f", {over_budget(model)}", "front": ", on the front"}.get(_kind(model), "")
    return f"{milliseconds(model.cost)} ms{where}"


def _cut(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _corners(front: list[_Place]) -> list[_Place]:
    """Return the corners of the staircase that keeps the score of a model until the next better one."""
    corners = front[:1]
    for x, y in front[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _around(one: _Place, other: _Place) -> _Box:
    """Return a box around a line segment."""
    return min(one[0], other[0]) - 1, min(one[1], other[1]) - 1, max(one[0], other[0]) + 1, max(one[1], other[1]) + 1


def _description(ranking: Ranking) -> str:
    on_front = [(cost.latency, model) for model, cost in ranking.priced if model.on_front]
    names = ", ".join(
        f"{model.name} ({milliseconds(model.cost)} ms)" for _, model in sorted(on_front, key=lambda point: point[0])
    )
    up = format_of(ranking.ranked_by).words
    text = f"{len(ranking.priced)} models, {up} upward against milliseconds per image to the right"
    text += f"; no other model is both as good and as fast as these, fastest first: {names}." if names else "."
    over = sum(bool(model.outside) for model in ranking.models)
    return f"{text} {over} over the budget." if over else text


def _texts(models: tuple[RankedModel, ...], canvas: Canvas) -> list[str]:
    """Return the labels of the points: names for models on the front, then for the best; ranks for others."""
    front_first = sorted(models, key=lambda model: not model.on_front)
    named = {model.rank for model in front_first[: canvas.most_names]}
    numbered = {model.rank for model in models[: canvas.most_labels]}
    return [
        _cut(model.name, canvas.longest_name)
        if model.rank in named
        else str(model.rank)
        if model.rank in numbered
        else ""
        for model in models
    ]


def _beside(edge: float, canvas: Canvas) -> tuple[Label, _Box]:
    """Return the label of the budget line and its box: at the foot of the line, on the side with more room."""
    width, height = _size("budget", canvas)
    side = 1 if edge < canvas.width / 2 else -1
    x, y = round(edge + side * (width / 2 + 6), 1), canvas.height - canvas.bottom - 6.0
    return Label("budget", x, y, None), (x - width / 2, y - height, x + width / 2, y)


def _size(text: str, canvas: Canvas) -> tuple[float, float]:
    """Return the approximate width and height of a line of text; names have many narrow letters."""
    return LETTER * canvas.font * len(text), LINE * canvas.font


def _labels(texts: list[str], places: list[_Place], obstacles: list[_Box], canvas: Canvas) -> list[Label | None]:
    """Place the labels, best models first; None where there is no text."""
    shown = [i for i, text in enumerate(texts) if text]
    sizes = [_size(texts[i], canvas) for i in shown]
    area = (canvas.left + 2.0, canvas.top, canvas.width - 2.0, canvas.height - canvas.bottom)
    others = [places[i] for i, text in enumerate(texts) if not text]
    marks = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in others]
    offsets = place_labels([places[i] for i in shown], sizes, area, radius=RADIUS, obstacles=[*obstacles, *marks])
    labels: list[Label | None] = [None] * len(texts)
    for i, size, offset in zip(shown, sizes, offsets, strict=True):
        (x, y), line = places[i], leader(offset, size, RADIUS)
        ends = None if line is None else (np.array([x, y]) + line).round(1).ravel().tolist()
        labels[i] = Label(texts[i], round(x + offset[0], 1), round(y + offset[1] + 0.35 * canvas.font, 1), ends)
    return labels
