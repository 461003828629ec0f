"""Placement of point labels: inside the area, without overlap where there is room, and deterministic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.costs.cost import Cost
from leepfrog.plots.cost_front import MARK, cost_front
from leepfrog.plots.labels import GAP, leader, place_labels, text_size
from leepfrog.ranking.budget import Budget, pareto_front
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.receipts.receipt import Receipt
from leepfrog.scoring.score import Score

RADIUS = 4.0
WIDE, HIGH = 600.0, 400.0
AREA = (50.0, 30.0, 50.0 + WIDE, 30.0 + HIGH)


def boxes(points: np.ndarray, sizes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    centers = points + offsets
    return np.hstack([centers - sizes / 2, centers + sizes / 2])


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return the overlap of two boxes, in square pixels."""
    across, down = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(max(across, 0) * max(down, 0))


@st.composite
def crowds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw points of the area, often coincident, and sizes of labels that fit into it."""
    n = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    middle, spread = rng.random(2), draw(st.sampled_from([0.0, 0.02, 0.3, 2.0]))
    within = np.clip(middle + spread * (rng.random((n, 2)) - 0.5), 0, 1)
    return np.array(AREA[:2]) + within * (WIDE, HIGH), rng.uniform((1, 5), (WIDE, 30), (n, 2))


@pytest.mark.full
@settings(max_examples=30)
@given(crowds())
def test_labels_stay_in_the_area(crowd: tuple[np.ndarray, np.ndarray]) -> None:
    points, sizes = crowd
    offsets = place_labels(points, sizes, AREA, radius=RADIUS)
    assert offsets.shape == points.shape
    placed = boxes(points, sizes, offsets)
    assert (placed[:, :2] >= np.array(AREA[:2]) - 1e-9).all()
    assert (placed[:, 2:] <= np.array(AREA[2:]) + 1e-9).all()
    np.testing.assert_array_equal(place_labels(points.tolist(), sizes.tolist(), AREA, radius=RADIUS), offsets)


@pytest.mark.full
@settings(max_examples=30)
@given(crowds(), st.integers(0, 25))
def test_better_models_labels_do_not_hang_on_the_others(crowd: tuple[np.ndarray, np.ndarray], first: int) -> None:
    """The first labels are placed as if the other points had no labels."""
    points, sizes = crowd
    none = np.where(np.arange(len(points))[:, None] < first, sizes, 0.0)
    offsets = place_labels(points, sizes, AREA, radius=RADIUS)[:first]
    np.testing.assert_array_equal(place_labels(points, none, AREA, radius=RADIUS)[:first], offsets)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_no_overlap_where_there_is_room(seed: int) -> None:
    """Place one random point in each cell of a grid; cells are twice as wide and eight times as high as a label."""
    rng = np.random.default_rng(seed)
    cells = np.array(list(itertools.product(range(3), range(4))), np.float64)
    points = np.array(AREA[:2]) + (cells + rng.random(cells.shape)) * (WIDE / 3, HIGH / 4)
    sizes = np.full(points.shape, (WIDE / 6, 12.0))
    placed = boxes(points, sizes, place_labels(points, sizes, AREA, radius=RADIUS))
    marks = np.hstack([points - RADIUS, points + RADIUS])
    assert not any(overlap(box, other) for box, other in itertools.combinations(placed, 2))
    assert not any(overlap(box, mark) for box in placed for mark in marks)


def test_the_order_of_the_places() -> None:
    """Right; left if another point is on the right; above if both sides are taken; then below; then further away."""
    middle, size = np.array([300.0, 200.0]), (80.0, 12.0)

    def place(*others: tuple[float, float]) -> list[float]:
        points = np.array([middle, *(middle + other for other in others)])
        sizes = [size, *((0.0, 0.0) for _ in others)]
        return list(place_labels(points, sizes, AREA, radius=RADIUS)[0])

    beside = RADIUS + GAP
    right, left, above, below = (30.0, 0.0), (-30.0, 0.0), (0.0, 12.0), (0.0, -12.0)
    assert place() == [beside + 40, 0]
    assert place(right) == [-beside - 40, 0]
    assert place(right, left) == [0, beside + 6]
    assert place(right, left, above) == [0, -beside - 6]
    assert place(right, left, above, below) == [beside + 40, beside + 6]
    assert np.hypot(*place(right, left, above, below, (30, 13), (30, -13), (-30, 13), (-30, -13))) > 2 * beside


def test_obstacles_are_avoided_but_a_label_never_covers_a_point_for_them() -> None:
    point, size = np.array([[300.0, 200.0]]), [(80.0, 12.0)]
    line = [[330.0, 0.0, 332.0, 500.0]]
    assert list(place_labels(point, size, AREA, radius=RADIUS, obstacles=line)[0]) == [-RADIUS - GAP - 40, 0]
    # Lines everywhere, and points everywhere except on the right.
    lines = [[x, 0.0, x + 2, 500.0] for x in range(0, 700, 20)]
    points = np.array([[300.0, 200.0], [260, 200], [300, 211], [300, 189], [330, 213], [330, 187], [270, 213]])
    offset = place_labels(points, [(80.0, 12.0), *[(0.0, 0.0)] * 6], AREA, radius=RADIUS, obstacles=lines)[0]
    assert list(offset) == [RADIUS + GAP + 40, 0]


def test_a_label_larger_than_the_area() -> None:
    offset = place_labels([(300.0, 200.0)], [(2 * WIDE, 12.0)], AREA)[0]
    assert 300 + offset[0] - WIDE == AREA[0]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_leaders_join_point_and_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offset, size = rng.uniform(-80, 80, 2), rng.uniform(5, 60, 2)
    line = leader(offset, size, RADIUS)
    nearest = np.clip(0, offset - size / 2, offset + size / 2)
    if line is None:
        assert np.hypot(*nearest) <= 1.5 * (RADIUS + GAP)
        return
    assert np.hypot(*line[0]) == pytest.approx(RADIUS)
    np.testing.assert_array_equal(line[1], nearest)


def test_labels_beside_their_points_have_no_leader() -> None:
    beside = RADIUS + GAP
    for x, y in itertools.product((-1, 0, 1), repeat=2):
        if x or y:
            assert leader((x * (beside + 40), y * (beside + 6)), (80, 12), RADIUS) is None


# Sixteen models on 372 clothing photographs: latency in ms on a busy machine, combined score, bounds of its interval.
CLOTHING = {
    "efficientnet_lite1": (29.191, 7.025, 5.848, 8.155),
    "efficientnet_lite1-fp16": (45.473, 7.022, 5.833, 8.164),
    "efficientnet_lite2-fp16": (50.947, 6.865, 5.607, 8.030),
    "efficientnet_lite2": (52.689, 6.861, 5.600, 8.022),
    "efficientnet_lite2-int8": (22.089, 6.774, 5.517, 7.903),
    "efficientnet_lite1-int8": (19.738, 6.509, 5.392, 7.564),
    "efficientnet_lite0-fp16": (27.765, 4.205, 3.211, 5.212),
    "efficientnet_lite0": (23.085, 4.196, 3.200, 5.199),
    "efficientnet_lite0-int8": (18.553, 3.989, 3.054, 4.951),
    "mobilenet_v2_1.0_224": (17.761, 0.104, -1.190, 1.399),
    "mobilenet_v2": (16.199, -1.436, -2.488, -0.273),
    "mobilenet_v2-fp16": (21.480, -1.488, -2.542, -0.333),
    "mobilenet_v2-int8": (10.013, -1.992, -3.061, -0.880),
    "mobilenet_v1_0.5_160": (0.867, -6.839, -8.248, -5.370),
    "mobilenet_v1_0.25_128": (0.229, -11.951, -13.318, -10.514),
    "mobilenet_v2_inat_insect": (16.280, -29.845, -31.813, -27.833),
}


def clothing(budget: Budget) -> Ranking:
    front = pareto_front([at[1] for at in CLOTHING.values()], [at[0] for at in CLOTHING.values()])
    rows = []
    for (name, (latency, value, low, high)), on_front in zip(CLOTHING.items(), front, strict=True):
        cost = Cost(1e-3 * latency, 1e-3 * latency, latency, 1.0, 10**8, 10**7, 2, 10, 1e-3)
        score = Score("combined", value, 0.7, 372, 1280, 10, interval=(low, high))
        outside = budget.exceeded(cost, 0)
        rows.append(
            RankedModel(
                len(rows) + 1, 1, (), 0.0, None, name, {"combined": score}, 1000, 1280, sha256=name, n_parameters=0,
                size_bytes=0, cost=cost, outside=outside, on_front=on_front and not outside,
            )
        )  # fmt: skip
    classes = {f"class {i}": 37 for i in range(10)}
    return Ranking(
        "clothing", classes, 372, (), "combined", None, budget, (), None, tuple(rows), (), None,
        Receipt("rank", {}, None, {}, (), {}, 0, "", 0.0, {}),
    )  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("limit", [None, 0.006, 0.02])
def test_the_names_of_sixteen_models_can_be_read(limit: float | None) -> None:
    """As rendered, not as estimated, no text overlaps another, covers a point or extends beyond the axes."""
    figure = cost_front(clothing(Budget(latency=limit)))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert texts.keys() - {"budget"} == CLOTHING.keys()
    for (name, box), (other, beside) in itertools.combinations(texts.items(), 2):
        assert not overlap(np.array(box.extents), np.array(beside.extents)), (name, other)
    inside, near = axes.get_window_extent(), 0
    for name, (latency, value, *_) in CLOTHING.items():
        at = axes.transData.transform((latency, value))
        assert not any(box.contains(*at) for box in texts.values())
        box = texts[name]
        assert box.x0 >= inside.x0 - 1
        assert box.x1 <= inside.x1 + 1
        assert box.y0 >= inside.y0 - 1
        assert box.y1 <= inside.y1 + 1
        near += leader((box.p0 + box.p1) / 2 - at, box.size, MARK / 2 * figure.dpi / 72) is None
    # All other labels have leader lines.
    assert sum(line.get_linewidth() == 0.5 for line in axes.lines) == len(CLOTHING) - near
    assert near >= 10


def test_the_estimate_of_a_texts_size_is_about_right() -> None:
    figure = cost_front(clothing(Budget()))
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        width, height = text_size(text.get_text(), text.get_fontsize() * figure.dpi / 72)
        assert 0.9 * box.width < width < 1.4 * box.width
        assert 0.9 * box.height < height < 1.8 * box.height
