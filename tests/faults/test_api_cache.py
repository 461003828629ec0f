"""The cache folder is passed as an argument, not in a context variable (fault 54)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import leepfrog
import pytest
from leepfrog.execution.context import RunContext
from leepfrog.gate.baseline import Baseline
from leepfrog.gate.rerun import rerun
from photos import folder_of_pieces

CALLS: dict[str, Callable[..., Any]] = {
    "rank": lambda data, context=None: leepfrog.rank(data, ["made"], context=context),
    "explain": lambda data, context=None: leepfrog.explain(data, "made", context=context),
    "study_tasks": lambda data, context=None: leepfrog.study_tasks(data, "made", 3, context=context),
    "embed": lambda data, context=None: leepfrog.embed(data, "made", context=context),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=8)


def shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.npy"))


@pytest.mark.parametrize("call", CALLS)
def test_fault_54_outputs_are_kept_in_the_folder_that_is_given(
    call: str, with_made: Path, photos: Path, tmp_path: Path
) -> None:
    CALLS[call](photos, RunContext(cache=str(tmp_path / "cache")))
    kept = shards(tmp_path / "cache")
    assert kept
    assert shards(with_made) == []
    CALLS[call](photos, RunContext(cache=tmp_path / "cache"))
    assert shards(tmp_path / "cache") == kept
    CALLS[call](photos)
    assert len(shards(with_made)) == len(kept)


def test_fault_54_a_second_run_is_fresh_in_any_thread(with_made: Path, photos: Path, tmp_path: Path) -> None:
    result = leepfrog.rank(photos, ["made"])
    (tmp_path / "baseline.json").write_text(json.dumps(result.as_dict()))
    baseline = Baseline.read(tmp_path / "baseline.json")
    before = shards(with_made)
    inferred: list[int] = []

    def again(cache: Path | None, cached: bool) -> None:
        ranking = rerun(baseline, photos, [], RunContext(cache=cache), cached=cached)
        assert isinstance(ranking, leepfrog.Ranking)
        inferred.append(ranking[0].n_inferred)

    cache = tmp_path / "cache"
    for arguments in ((None, False), (None, True), (cache, True), (cache, True), (cache, False)):
        thread = threading.Thread(target=again, args=arguments)
        thread.start()
        thread.join()
    assert inferred == [24, 0, 24, 0, 24]
    assert shards(with_made) == before
    assert [path.name for path in (with_made / "inference").iterdir() if path.name.startswith(".")] == []


def test_fault_54_nothing_is_passed_by_hidden_variables() -> None:
    package = Path(str(leepfrog.__file__)).parent
    assert [path for path in package.rglob("*.py") if "contextvars" in path.read_text()] == []
