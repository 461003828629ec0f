"""The announcement of long work before it starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import leepfrog
import pytest
from leepfrog.costs.cost import Cost
from leepfrog.ranking import rank
from leepfrog.ranking.plan import plan, seconds_needed
from photos import photo_set
from rankings import FAST, Listener

COST = Cost(0.02, 0.03, 1.0, 100.0, 10, 5, 2, 50, 0.001)


def test_time_of_what_is_missing() -> None:
    faster = dataclasses.replace(COST, throughput=1000.0)
    assert seconds_needed([100, 1000], [COST, faster]) == pytest.approx(1.2 * 2)
    assert seconds_needed([0, 1000], [None, faster]) == pytest.approx(1.2)
    assert seconds_needed([1, 1000], [None, faster]) is None
    elsewhere = dataclasses.replace(COST, place="sheet")
    assert seconds_needed([1], [elsewhere]) is None


def test_words(two_home: Path) -> None:
    models = list(map(leepfrog.ModelFile.read, sorted((two_home / "models").glob("*.onnx"))))
    text = plan(models, 20_000, [20_000, 10_000], [COST, COST], racing=False)
    assert (
        text == "2 models x 20,000 images, 10,000 of 40,000 outputs cached, about 6 minutes here; --race may need less"
    )
    assert (
        plan(models, 5000, [5000, 5000], [COST, COST], racing=True)
        == "2 models x 5,000 images, at most about 2 minutes here"
    )
    assert plan(models, 5000, [5000, 5000], [COST, None], racing=False) == "2 models x 5,000 images"


def test_long_inference_is_announced_once(two_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "LONG", 24)
    listener = Listener()
    context = leepfrog.RunContext(progress=listener)
    leepfrog.rank(photo_set(4), FAST, context=context)
    (text,) = listener.plans
    assert text.startswith("2 models x 12 images, about 10 seconds here")
    leepfrog.rank(photo_set(4), FAST, context=context)
    assert len(listener.plans) == 1
