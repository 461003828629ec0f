"""Result types: round trips through JSON, validation on reading, and the API of rankings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import leepfrog
import pytest
from baselines import put
from commands import process
from hostile_ranking import Reported
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.codec import decode
from leepfrog.errors import UsageError
from leepfrog.ranking.result import Ranking
from leepfrog.ranking.score_format import format_of, points
from leepfrog.ranking.sentences import trade_offs_in_words, trust_in_words
from machine_load import COST
from photos import folder_of_pieces, photo_set


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    size: float | None = None


@dataclasses.dataclass(frozen=True)
class Whole:
    n: int
    flag: bool
    either: int | float
    parts: tuple[Part, ...]
    pair: tuple[str, int]
    by_name: Mapping[str, Part]
    anything: Any = None


texts = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=5)
numbers = st.floats(-1e18, 1e18) | st.integers(-(2**60), 2**60)
parts = st.builds(Part, texts, st.none() | st.floats(-1e18, 1e18))
wholes = st.builds(
    Whole, st.integers(-(2**60), 2**60), st.booleans(), numbers, st.lists(parts, max_size=3).map(tuple),
    st.tuples(texts, st.integers(0, 9)), st.dictionaries(texts, parts, max_size=3), st.none() | texts,
)  # fmt: skip


@given(wholes)
def test_what_is_written_is_read(whole: Whole) -> None:
    assert decode(Whole, json.loads(json.dumps(dataclasses.asdict(whole))), "whole") == whole


GOOD: dict[str, Any] = {
    "n": 1, "flag": True, "either": 1, "parts": [], "pair": ["a", 1], "by_name": {"x": {"name": "y"}}, "more": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": "1"}, "whole.n is '1', not a whole number"),
        ({"n": True}, "whole.n is True"),
        ({"n": 2**70}, "whole.n is"),
        ({"flag": 1}, "whole.flag is 1, not true or false"),
        ({"either": "x"}, "whole.either is 'x', not a number"),
        ({"either": math.inf}, "whole.either is inf"),
        ({"parts": {}}, "whole.parts is {}, not a list"),
        ({"parts": [{"size": 1}]}, "whole.parts[0] has no name"),
        ({"parts": [{"name": "a", "size": "b"}]}, "whole.parts[0].size is 'b', not a number"),
        ({"pair": ["a"]}, "whole.pair has 1 items, not 2"),
        ({"by_name": []}, "whole.by_name is [], not an object"),
        ({"by_name": {"x": 1}}, "whole.by_name.x is 1, not an object"),
    ],
)
def test_what_is_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    assert decode(Whole, GOOD, "whole").by_name == {"x": Part("y")}
    with pytest.raises(ValueError, match="whole") as error:
        decode(Whole, GOOD | change, "whole")
    assert message in str(error.value)


@pytest.fixture(scope="module")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> Ranking:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEPFROG_HOME", str(home))
        for name, noise in (("plain", 0.0), ("noisy", 0.5)):
            put(home, name, noise=noise)
        return leepfrog.rank(photo_set(6), scores=["knn"])


def test_a_ranking_is_a_collection_of_models(ranking: Ranking) -> None:
    assert [model.rank for model in ranking] == [1, 2]
    assert len(ranking) == 2
    assert ranking[0] is ranking.models[0] is ranking.best
    assert ranking["noisy"].name == "noisy"
    with pytest.raises(KeyError, match="no model 'nosy'; did you mean noisy"):
        ranking["nosy"]
    with pytest.raises(IndexError):
        ranking[2]
    outside = dataclasses.replace(ranking.models[0], outside=("latency",))
    assert dataclasses.replace(ranking, models=(outside, ranking.models[1])).best is ranking.models[1]
    assert dataclasses.replace(ranking, models=(outside,)).best is None
    assert len(repr(ranking)) < 200
    assert repr(ranking).startswith("<Ranking of 2 models on ")


def test_what_the_recommendation_gives_up_is_said(ranking: Ranking) -> None:
    """A better model over the budget, and a tied one that is faster."""
    first, second = (
        dataclasses.replace(model, cost=COST, name=name)
        for name, model in zip(("first", "second"), ranking, strict=True)
    )
    assert trade_offs_in_words(dataclasses.replace(ranking, models=(first, second))) == []
    over = dataclasses.replace(first, outside=("size", "latency"))
    shown = format_of(ranking.ranked_by)
    value = shown.value(first.scores[ranking.ranked_by].value)
    assert trade_offs_in_words(dataclasses.replace(ranking, models=(over, second))) == [
        f"Outside the budget, first has {value} % (over size, latency)."
    ]
    fast = dataclasses.replace(COST, latency=COST.latency / 2)
    tied = dataclasses.replace(first, tied_with=("second",))
    faster = "second is tied with it and faster: 2.0 instead of 4.0 ms per image"
    for rival, lines in (
        (
            dataclasses.replace(second, cost=fast),
            [f"{faster}; choosing it loses {points(second.expected_loss)} points on average."],
        ),
        (dataclasses.replace(second, cost=dataclasses.replace(COST, latency=0.95 * COST.latency)), []),
        (dataclasses.replace(second, cost=fast, outside=("memory",)), []),
        (dataclasses.replace(second, cost=None), []),
    ):
        assert trade_offs_in_words(dataclasses.replace(ranking, models=(tied, rival))) == lines
    assert trade_offs_in_words(dataclasses.replace(ranking, models=(over,))) == []


def test_the_study_is_cited_for_what_it_studied(ranking: Ranking) -> None:
    (line,) = trust_in_words(ranking)
    assert line.startswith("In a study of ")
    arrays = tuple(dataclasses.replace(model, sha256="") for model in ranking)
    assert trust_in_words(dataclasses.replace(ranking, models=arrays)) == [
        f"{line} Other kinds of data than images were not studied."
    ]
    assert trust_in_words(dataclasses.replace(ranking, models=ranking.models[:1])) == []
    assert trust_in_words(dataclasses.replace(ranking, goal=None)) == []


def test_a_ranking_is_saved_and_loaded(ranking: Ranking, tmp_path: Path) -> None:
    path = tmp_path / "ranking.json"
    ranking.save(path)
    loaded = Ranking.load(str(path))
    assert loaded == ranking
    assert loaded.as_dict() == ranking.as_dict()
    assert not len(loaded[0].scores["knn"].terms)
    assert leepfrog.Ranking.load(path).receipt == ranking.receipt


@pytest.mark.full
def test_what_the_command_wrote_is_loaded(home: Path, tmp_path: Path) -> None:
    put(home, "plain", noise=0.0)
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    process(["rank", folder, "-q", "-o", tmp_path / "ranking.json"]).check(0)
    loaded = Ranking.load(tmp_path / "ranking.json")
    loaded.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((tmp_path / "ranking.json").read_text())
    process(["check", tmp_path / "again.json", folder, "-q", "--fail-on", "score"]).check(0, "passed")


def test_a_race_and_variants_too(reported: Reported) -> None:
    values = json.loads(json.dumps(reported.ranking.as_dict()))
    assert json.loads(json.dumps(Ranking.from_dict(values).as_dict())) == values


def changed(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("kind", to="scores"), "is not a ranking"),
        (changed("schema_version", to=1), "has schema version 1, but this leepfrog reads 3; create it again"),
        (changed("n_images", to=-1.5), "ranking.n_images is -1.5"),
        (changed("models", to={}), "ranking.models is {}, not a list"),
        (changed("models", 0, "rank", to=None), "ranking.models[0].rank is None"),
        (changed("models", 0, "scores", "leep", "value", to="0"), "ranking.models[0].scores.leep.value is '0'"),
        (changed("models", 0, "cost", "latency", to=-1), "ranking.models[0].cost: -1.0 is not a valid latency"),
        (changed("receipt", "seed", to=-1), "ranking.receipt: seed must be 0 or more, not -1"),
    ],
)
def test_what_is_no_ranking_is_refused(
    change: Callable[[Any], None], message: str, ranking: Ranking, tmp_path: Path
) -> None:
    values = json.loads(json.dumps(ranking.as_dict()))
    change(values)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match=r"bad\.json: ") as error:
        Ranking.load(path)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1e999}'])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.json: is not"):
        Ranking.load(tmp_path / "bad.json")
    with pytest.raises(UsageError, match=r"absent\.json: cannot be read"):
        Ranking.load(tmp_path / "absent.json")


def test_a_notebook_s_table_is_harmless(reported: Reported) -> None:
    """The hostile model names in the ranking are escaped."""
    page = reported.ranking._repr_html_()
    assert page.count("<tr>") == len(reported.ranking) + 1
    assert "<img" not in page


def test_a_data_frame(ranking: Ranking) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = ranking.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["model"]) == [model.name for model in ranking]
    assert frame["knn"][0] == ranking[0].scores["knn"].value
    assert {"latency", "size_bytes", "leep_loo_low", "on_front"} <= set(frame.columns)
