"""Runs killed at random moments: the next run gives the result of an undisturbed one and repeats no finished work."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leepfrog
import models_made as made
import numpy as np
import pytest
from leepfrog.execution.context import RunContext
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking import racing
from leepfrog.ranking.result import Ranking
from PIL import Image
from rankings import Listener

pytestmark = pytest.mark.full

PER_CLASS, CLASSES = 200, 3
TOTAL = PER_CLASS * CLASSES
SHARD = 16

# Print one line per event, then wait to be killed; shards are small, so that many are written.
RUN = f"""
import sys, leepfrog
from leepfrog.inference import cache
from leepfrog.ranking import racing

cache.ROWS_PER_SHARD = {SHARD}
racing.FIRST_IMAGES = 24

class Printer:
    def start(self, what, total):
        print("start", what, flush=True)
    def advance(self, steps):
        print("advance", flush=True)
    def notice(self, text):
        print("notice", text, flush=True)

context = leepfrog.RunContext(threads=2, progress=Printer())
leepfrog.rank(sys.argv[1], by="ridge", scores=["all"], racing=sys.argv[2] == "race", context=context)
print("done", flush=True)
sys.stdin.read()
"""


@dataclasses.dataclass(frozen=True)
class Moment:
    """Moment of a kill.

    Attributes:
        stage: prefix of the stage's name, or "" for the start of the process.
        events: number of progress events since the first start of the stage.
        seconds: further delay, in seconds.
    """

    stage: str
    events: int
    seconds: float


@pytest.fixture
def images(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of small noisy images in three colors, with two synthetic models, one of which sees only the center."""
    (home / "models").mkdir(parents=True)
    near = dataclasses.replace(made.SPEC, resize_size=(8 * made.SIDE, 8 * made.SIDE))
    for name, spec in (("made", made.SPEC), ("near", near)):
        model = made.scoring(name=name, preprocess=spec)
        (home / "models" / f"{name}.onnx").write_bytes(model.SerializeToString())
    rng = np.random.default_rng(0)
    for kind in range(CLASSES):
        folder = home / "images" / f"class {kind}"
        folder.mkdir(parents=True)
        colors = rng.normal((90, 120, 140), 25, (PER_CLASS, 3)) + 25 * np.eye(CLASSES)[kind]
        for i, color in enumerate(colors):
            pixels = np.clip(rng.normal(color, 60, (made.SIDE, made.SIDE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:03}.png")
    monkeypatch.setattr(racing, "FIRST_IMAGES", 24)
    return home / "images"


def killed_at(moment: Moment, images: Path, race: bool) -> None:
    command = [sys.executable, "-c", RUN, str(images), "race" if race else "full"]
    pipe = subprocess.PIPE
    run = subprocess.Popen(command, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert run.stdout is not None
    lines: list[str] = []
    seen = -1
    while moment.stage and seen < moment.events:
        lines.append(run.stdout.readline())
        if seen >= 0 or lines[-1].startswith(f"start {moment.stage}"):
            seen += 1
        if lines[-1] in ("done\n", ""):
            break
    time.sleep(moment.seconds)
    os.killpg(run.pid, signal.SIGKILL)
    output, errors = run.communicate()
    assert errors == ""
    assert run.returncode == -signal.SIGKILL
    assert "notice" not in "".join([*lines, output])


def cached() -> dict[str, int]:
    """Return the number of images in each model's output cache; a damaged cache fails the test."""
    return {model.name: len(OutputCache(model, "cpu", pytest.fail)) for model in find_models([])}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf of JSON-ready data."""
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{path}.{key}")
    else:
        yield path, value


def essence(ranking: Ranking) -> dict[str, Any]:
    """Return a ranking as paths and values, without measurements and what depends on them."""
    data = ranking.as_dict()
    for row in data["models"]:
        for measured in ("cost", "on_front", "n_inferred"):
            del row[measured]
    for of_time in ("started", "seconds", "stages"):
        del data["receipt"][of_time]
    return dict(leaves(data))


def check_resumed(images: Path, race: bool, undisturbed: dict[str, Any]) -> int:
    """Run again after a kill and check the result; return the number of outputs that the killed run had cached."""
    before = cached()
    listener = Listener()
    resumed = leepfrog.rank(
        images, by="ridge", scores=["all"], racing=race, context=RunContext(threads=2, progress=listener)
    )
    assert not listener.notices
    again = essence(resumed)
    assert again.keys() == undisturbed.keys()
    for where, value in undisturbed.items():
        number = isinstance(value, float)
        assert again[where] == (pytest.approx(value, rel=0, abs=1e-9) if number else value), where
    for row in resumed.models:
        assert row.n_inferred == TOTAL - before[row.name]
    # Nothing was computed twice. Partial files of a killed write are not part of the cache and are removed once old.
    inference = Path(os.environ["LEEPFROG_HOME"]) / "inference"
    rows = sum(len(np.load(shard)) for shard in inference.glob("*/*.npy"))
    assert rows == sum(cached().values()) == (resumed.race.passes if resumed.race else len(before) * TOTAL)
    for part in inference.rglob("*.part"):
        os.utime(part, (0, 0))
    cached()
    assert not list(inference.rglob("*.part"))
    return sum(before.values())


@pytest.mark.parametrize("race", [False, True])
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_random_moments(images: Path, race: bool, times: int) -> None:
    """Kill runs with an empty cache in every stage, from process start to the measurement of costs."""
    rng = np.random.default_rng([times, race])
    draws = {
        "": lambda: Moment("", 0, rng.uniform(0, 0.6)),
        "hashing": lambda: Moment("hashing", int(rng.integers(TOTAL)), 0),
        # Batches have at most 4 images, so there are more events than this.
        "inference": lambda: Moment("inference", int(rng.integers(10, TOTAL // 4)), 0),
        "scoring": lambda: Moment("scoring", 0, rng.uniform(0, 1)),
    }
    moments = [draw() for stage, draw in draws.items() for _ in range(times) if not (race and stage == "hashing")]
    inference = Path(os.environ["LEEPFROG_HOME"]) / "inference"
    first = leepfrog.rank(images, by="ridge", scores=["all"], racing=race, context=RunContext(threads=2))
    assert (first.race is not None) == race
    assert first.race is None or (first.race.dropped and len(first.race.samples) > 2)
    total = first.race.passes if first.race else 2 * TOTAL
    kept = []
    for moment in moments:
        shutil.rmtree(inference)
        killed_at(moment, images, race)
        kept.append(check_resumed(images, race, essence(first)))
    # At least one run was killed during inference, and the last one had all outputs.
    assert any(0 < n < total for n in kept)
    assert kept[-1] == total
