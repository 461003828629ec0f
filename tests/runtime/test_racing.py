"""Racing: balanced samples, elimination of clearly worse models, and survivors with the results of a full run."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.cli.formats import Format
from leepfrog.cli.rank import render
from leepfrog.cli.result_options import ResultOptions
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking import racing
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.decision import Decision
from leepfrog.ranking.racing import FIRST_IMAGES, RACEABLE, Race, Standing, first_sample, growing, run_race
from leepfrog.ranking.rank import rank
from leepfrog.scoring.names import SCORE_NAMES
from leepfrog.scoring.score import mean_of
from photos import photo_set
from rankings import FAST

Floats = np.ndarray


def judged(terms: Floats, labels: np.ndarray, seen: list[tuple[list[int], np.ndarray]]) -> racing.Judge:
    def judge(alive: list[int], positions: np.ndarray) -> Standing:
        seen.append((list(alive), positions))
        classes = labels[positions]
        scores = [{"made": mean_of("made", terms[i][positions], classes, 2, {})} for i in alive]
        return Standing.of(Decision("made", scores, None), classes)

    return judge


@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=8), seed=st.integers(0, 10))
def test_every_beginning_holds_the_classes_in_proportion(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    order = growing(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    for n in range(1, len(labels) + 1):
        part = np.bincount(labels[order[:n]], minlength=len(counts))
        # Each class deviates by less than one image itself, plus the deviations of the other classes.
        assert np.abs(part - n * np.array(counts) / len(labels)).max() < 1 + len(counts) / 2


def test_the_first_sample_has_two_classes() -> None:
    labels = np.array([0] * 990 + [1] * 10)
    order = growing(labels)
    n = first_sample(labels, order)
    assert n >= FIRST_IMAGES
    assert np.bincount(labels[order[:n]])[1] >= 2


def test_the_clearly_worse_leave_and_the_close_stay() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1600)
    shared = rng.normal(0, 1, 1600)
    # Shared difficulty cancels in paired comparisons: m4 trails by only a tenth of its spread, yet is dropped.
    means, spreads = [0.0, -0.01, -3.0, -0.5, -0.1], [0.3, 0.3, 0.3, 0.3, 0.05]
    terms = np.stack([shared + m + rng.normal(0, s, 1600) for m, s in zip(means, spreads, strict=True)])
    seen: list[tuple[list[int], np.ndarray]] = []
    left, race = run_race([f"m{i}" for i in range(5)], labels, judged(terms, labels, seen))
    assert left == [0, 1]
    assert next(alive for alive, _ in seen) == [0, 1, 2, 3, 4]
    assert {drop.model for drop in race.dropped} == {"m2", "m3", "m4"}
    assert {drop.model: drop.n_images for drop in race.dropped}["m2"] == FIRST_IMAGES
    for drop in race.dropped:
        assert drop.deficit > racing.ERRORS * drop.standard_error > 0
    # Samples are nested, so drop image counts once.
    for (_, small), (_, large) in itertools.pairwise(seen):
        assert set(small) < set(large)
    saw = {i: max(len(at) for alive, at in seen if i in alive) for i in range(5)} | dict.fromkeys(left, 1600)
    assert race.passes == sum(saw.values())
    assert race.passes_of_full_run == 5 * 1600
    assert race.samples == (*(len(at) for _, at in seen), 1600)
    comparisons = sum(len(alive) - 1 for alive, _ in seen)
    assert race.risk == pytest.approx(comparisons * 0.5 * math.erfc(3 / math.sqrt(2)))


def test_equals_all_stay_and_few_images_are_no_race() -> None:
    labels = np.arange(1000) % 5
    terms = np.zeros((4, 1000))
    left, race = run_race(list("abcd"), labels, judged(terms, labels, []))
    assert left == [0, 1, 2, 3]
    assert race.passes == race.passes_of_full_run
    seen: list[tuple[list[int], np.ndarray]] = []
    left, race = run_race(list("ab"), labels[:40], judged(np.array([[0.0] * 40, [-9.0] * 40]), labels[:40], seen))
    assert (left, seen, race.samples) == ([0, 1], [], (40,))
    # A single model does not race either.
    assert run_race(["a"], labels, judged(terms, labels, seen))[1].samples == (1000,)


@pytest.mark.full
def test_noise_rarely_drops_the_best() -> None:
    """In 300 races, the best model leads nine equal ones by a tenth of a standard deviation."""
    rng = np.random.default_rng(1)
    labels = np.arange(800) % 4
    lost = 0
    for _ in range(300):
        terms = rng.normal(0, 1, (10, 800))
        terms[0] += 0.1
        left, race = run_race([str(i) for i in range(10)], labels, judged(terms, labels, []))
        lost += 0 not in left
    # The bound is loose: a union bound over all comparisons, as if the best model were no better than the others.
    assert lost / 300 <= race.risk


@pytest.mark.parametrize("by", [name for name in SCORE_NAMES if name not in RACEABLE])
def test_scores_that_do_not_leave_images_out_are_refused(by: str) -> None:
    with pytest.raises(UsageError, match=f"raced by {by}: .*one of combined, .*ridge"):
        rank(photo_set(2), by=by, racing=True)


def test_real_models(zoo_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Survivors have the rows of a full run; dropped models ran only on the images that the race reports."""
    monkeypatch.setattr(racing, "FIRST_IMAGES", 20)
    monkeypatch.setattr(racing, "ERRORS", 0.5)
    images = photo_set(20)
    names = ["mobilenet_v2", "efficientnet_lite0", "efficientnet_lite2"]
    raced = rank(images, names, by="leep_loo", racing=True, context=RunContext(threads=1))
    race = raced.race
    assert race is not None
    assert (race.samples[0], race.samples[-1]) == (20, 60)
    assert race.dropped
    assert {row.name for row in raced.models} == set(names) - {drop.model for drop in race.dropped}
    assert race.passes == sum(row.n_inferred for row in raced.models) + sum(drop.n_images for drop in race.dropped)
    assert race.passes < race.passes_of_full_run == 180
    full = {row.name: row for row in rank(images, names, by="leep_loo", context=RunContext(threads=1)).models}
    for row in raced.models:
        assert row.scores["leep_loo"].value == full[row.name].scores["leep_loo"].value
    assert sum(row.n_inferred for row in full.values()) == 180 - race.passes
    assert json.loads(json.dumps(raced.as_dict()))["race"]["passes"] == race.passes
    text = render(raced, ResultOptions(Format.table))
    assert all(drop.model in text for drop in race.dropped)


@pytest.mark.full
def test_models_outside_the_budget_do_not_start(two_home: Path) -> None:
    images = photo_set(4)
    size = find_models(["mobilenet_v2"])[0].size
    ranking = rank(
        images,
        ["mobilenet_v2", "efficientnet_lite0"],
        racing=True,
        budget=Budget(size=size),
        context=RunContext(threads=1),
    )
    assert [row.name for row in ranking.models] == ["mobilenet_v2"]
    assert ranking.race is not None
    assert ranking.race.outside == (("efficientnet_lite0", ("size",)),)
    assert "Did not start: efficientnet_lite0, over size" in render(ranking, ResultOptions(Format.table))
    with pytest.raises(UsageError, match="no model is within the budget"):
        rank(images, FAST, racing=True, budget=Budget(size=1), context=RunContext(threads=1))


def test_full_runs_say_nothing_of_a_race(two_home: Path) -> None:
    assert rank(photo_set(3), FAST[:1], by="leep_loo", context=RunContext(threads=1)).race is None
    assert isinstance(
        rank(photo_set(3), FAST[:1], by="leep_loo", racing=True, context=RunContext(threads=1)).race, Race
    )
