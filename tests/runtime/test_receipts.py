"""Receipts: contents, round trips and causes of changes; and the JSON schema of results."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import leepfrog
import numpy as np
import onnxruntime
import pytest
from baselines import NAMES, SCHEMA, baseline, conforms, photographs, put, two_models
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.gate.baseline import Baseline
from leepfrog.inference.device import ort_options
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.score_files import score_files
from leepfrog.receipts.causes import data_causes, environment_causes, model_causes
from leepfrog.receipts.receipt import Receipt
from leepfrog.validation.tasks import study_tasks

pytestmark = pytest.mark.full


def test_the_receipt_of_a_ranking_says_what_made_it(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")
    (folder / "cat" / "text.jpg").write_text("no image")
    ranking = leepfrog.rank(folder, NAMES, context=RunContext(threads=2, batch_size=7))
    receipt = ranking.receipt
    assert receipt.command == "rank"
    assert (receipt.arguments["by"], receipt.arguments["goal"]) == (None, "head")
    assert receipt.arguments["batch_size"] == 7
    assert receipt.data is not None
    assert receipt.data.n_images == 60
    assert {name: item.n for name, item in receipt.data.classes.items()} == {"cat": 20, "coffee": 20, "rocket": 20}
    assert [Path(image.name).name for image in receipt.data.skipped] == ["text.jpg"]
    assert receipt.environment["onnxruntime"] == onnxruntime.__version__
    assert receipt.environment["provider"] == "CPUExecutionProvider"
    assert receipt.environment["threads"] == 2
    assert {model.name for model in receipt.models} == set(NAMES)
    assert {model.sha256 for model in receipt.models} == {file.sha256 for file in find_models(NAMES)}
    assert {"hashing", "inference, 2 models", "scoring"} <= receipt.stages.keys()
    assert sum(receipt.stages.values()) == pytest.approx(receipt.seconds, abs=0.5)
    assert Receipt.from_dict(receipt.as_dict()).as_dict() == receipt.as_dict()


def test_hashes_of_data_do_not_depend_on_names_and_order(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")
    first = leepfrog.rank(folder, NAMES[:1]).receipt.data
    moved = shutil.copytree(folder, tmp_path / "moved")
    for i, path in enumerate(sorted((moved / "cat").iterdir(), reverse=True)):
        path.rename(path.with_name(f"another-{i:02}.jpg"))
    second = leepfrog.rank(moved, NAMES[:1]).receipt.data
    assert first is not None
    assert second is not None
    assert dataclasses.replace(first, name="") == dataclasses.replace(second, name="")
    (moved / "cat" / "another-00.jpg").rename(moved / "coffee" / "another-00.jpg")
    third = leepfrog.rank(moved, NAMES[:1]).receipt.data
    assert third is not None
    assert third.sha256 != first.sha256
    assert third.images_sha256 == first.images_sha256


def test_every_kind_of_result_conforms_to_the_schema(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")
    conforms(leepfrog.rank(folder, NAMES).as_dict())
    conforms(leepfrog.rank(folder, NAMES[:1], by="leep_loo", scores=["all"]).as_dict())
    raced = leepfrog.rank(folder, NAMES, by="leep_loo", racing=True, budget=Budget(latency=1.0, size=1e9)).as_dict()
    assert raced["race"] is not None
    conforms(raced)
    conforms(leepfrog.validate(folder, NAMES, splits=1).as_dict())
    conforms(study_tasks(folder, NAMES[0], 3).as_dict())
    labels, probs = tmp_path / "labels.npy", tmp_path / "probs.npy"
    rng = np.random.default_rng(0)
    np.save(labels, np.arange(30) % 3)
    np.save(probs, rng.dirichlet(np.ones(4), 30))
    conforms(score_files(labels, probs, None).as_dict())
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid({"kind": "ranking", "schema_version": 2})


def test_the_schema_describes_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    named = {entry["$ref"].rpartition("/")[2] for entry in SCHEMA["oneOf"]}
    assert named <= SCHEMA["$defs"].keys()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_a_damaged_receipt_is_one_error(data: st.DataObject) -> None:
    """A receipt with one random value replaced is either read or refused with a UsageError."""
    receipt = json.loads(GOOD)
    place: Any = receipt
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    with contextlib.suppress(UsageError):  # any other exception fails the test
        Receipt.from_dict(receipt)


GOOD = json.dumps(
    {
        "command": "rank",
        "arguments": {"by": "leep"},
        "data": {
            "name": "photos",
            "sha256": "a",
            "images_sha256": "b",
            "n_images": 3,
            "classes": {"cat": {"n": 3, "sha256": "c"}},
            "skipped": [{"name": "x.jpg", "reason": "empty"}],
        },
        "arrays": {"labels": {"file": "labels.npy", "sha256": "d"}},
        "models": [
            {
                "name": "m",
                "source": "s",
                "sha256": "e",
                "graph_sha256": "f",
                "weights_sha256": "g",
                "size_bytes": 1,
                "preprocess": {"mean": [0]},
            }
        ],
        "environment": {"threads": 2},
        "seed": 0,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        "stages": {"hashing": 0.5},
    }
)


def test_causes_of_changed_data(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")

    def receipt() -> Receipt:
        return leepfrog.rank(folder, NAMES[:1]).receipt

    first = receipt()
    assert data_causes(first, receipt()) == []
    (folder / "cat").rename(folder / "kitten")
    assert data_causes(first, receipt()) == ["labels: class 'cat' renamed to 'kitten'"]
    (folder / "kitten").rename(folder / "cat")
    (folder / "cat" / "00.jpg").rename(folder / "coffee" / "moved.jpg")
    causes = ["labels: the same images in other classes: 'cat' 20 -> 19 images, 'coffee' 20 -> 21 images"]
    assert data_causes(first, receipt()) == causes
    (folder / "coffee" / "moved.jpg").unlink()
    assert data_causes(first, receipt()) == ["data: different images: 'cat' 20 -> 19 images"]
    (folder / "cat" / "01.jpg").write_text("no image any more")
    assert data_causes(first, receipt())[1] == "data: 0 -> 1 images skipped"


def test_causes_of_a_changed_model(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")

    def receipt() -> Any:
        return leepfrog.rank(folder, NAMES[:1]).receipt.models[0]

    first = receipt()
    put(home, NAMES[0], license="another")
    assert receipt().sha256 != first.sha256
    assert model_causes(first, receipt()) == ["model: metadata changed"]
    spec = find_models(NAMES[:1])[0].metadata.preprocess
    put(home, NAMES[0], preprocess=dataclasses.replace(spec, mean=(0.5, 0.5, 0.5)))
    assert model_causes(first, receipt()) == ["preprocessing: mean [0.0, 0.0, 0.0] -> [0.5, 0.5, 0.5]"]
    put(home, NAMES[0], noise=0.1)
    (cause,) = model_causes(first, receipt())
    assert cause.startswith("model: weights changed (")


def test_causes_in_the_environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_models(home)
    folder = photographs(tmp_path / "photos")
    first = leepfrog.rank(folder, NAMES[:1], context=RunContext(threads=2)).receipt
    monkeypatch.setenv("LEEPFROG_ORT_OPTIONS", "session.disable_quant_qdq=1  graph_optimization_level=basic")
    assert ort_options() == {"graph_optimization_level": "basic", "session.disable_quant_qdq": "1"}
    second = leepfrog.rank(folder, NAMES[:1], context=RunContext(threads=1))
    assert second.models[0].n_inferred == 60  # the options are part of the cache key
    assert environment_causes(first, second.receipt) == [
        "runtime: ort_options none -> graph_optimization_level=basic session.disable_quant_qdq=1",
        "machine: threads 2 -> 1",
    ]


@pytest.mark.parametrize("text", ["nonsense", "=1", "graph_optimization_level=most", "a=b a=c"])
def test_options_that_are_none(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LEEPFROG_ORT_OPTIONS", text)
    with pytest.raises(
        UsageError, match=r"LEEPFROG_ORT_OPTIONS: .* is invalid or repeated; expected space-separated key=value"
    ):
        leepfrog.rank(tmp_path, NAMES)


def test_a_baseline_that_is_none_is_a_wrong_call(home: Path, tmp_path: Path) -> None:
    two_models(home)
    path = tmp_path / "baseline.json"
    good = baseline(home, photographs(tmp_path / "photos"), path)
    assert Baseline.read(path).kind == "ranking"
    bad: dict[str, tuple[str | bytes, str]] = {
        "truncated": (json.dumps(good)[:-200], "is not JSON, or is truncated"),
        "empty": ("", "is not JSON"),
        "not UTF-8": (b"\xff\xfe{}", "is not JSON"),
        "nested": ("[" * 100_000, "is not JSON"),
        "a list": ("[]", "not a result with a receipt"),
        "not a result": ('{"kind": "cake"}', "not a result with a receipt"),
        "another schema version": (json.dumps({**good, "schema_version": 1}), "has schema version 1"),
        "no receipt": (json.dumps({**good, "receipt": None}), "ranking.receipt is None, not an object"),
    }
    for content, message in bad.values():
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError, match=message) as caught:
            Baseline.read(path)
        assert str(path) in str(caught.value)
    os.unlink(path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Baseline.read(path)
