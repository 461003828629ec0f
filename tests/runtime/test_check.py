"""The gate, `leepfrog check`: what fails, what passes, the causes it reports and its output formats."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import leepfrog
import models_made as made
import numpy as np
import onnx
import pytest
from baselines import NAMES, baseline, conforms, photographs, put, two_models
from commands import Here
from leepfrog.costs.places.here import measure, store_cost
from leepfrog.costs.worker import REFERENCE
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.gate.check import Check, Finding, check
from leepfrog.gate.formats import as_github, as_junit, as_text
from leepfrog.inference.device import available_threads
from leepfrog.inference.model_lookup import find_models
from leepfrog.receipts.receipt import Receipt
from leepfrog_exporter.latency_reference import reference_graph
from leepfrog_exporter.precision.variant import VariantOptions, export_variant
from photos import folder_of_pieces
from rankings import FAST

pytestmark = pytest.mark.full


@pytest.fixture
def ranked(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The baseline of two small test models, and the folder of its photographs."""
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "baseline.json"
    baseline(home, folder, path)
    return path, folder


def causes(found: Check) -> set[str]:
    return {cause for failure in found.failures for cause in failure.causes}


def test_an_honest_second_run_passes(ranked: tuple[Path, Path]) -> None:
    result = check(*ranked, context=RunContext(threads=1, batch_size=11))
    assert result.passed
    threads = available_threads()
    assert result.changes == ((f"machine: threads {threads} -> 1",) if threads > 1 else ())
    kinds = [finding.criterion for finding in result.findings]
    assert (kinds.count("score"), kinds.count("rank"), kinds.count("size")) == (8, 1, 2)
    conforms(result.as_dict())


def test_a_changed_model_fails(ranked: tuple[Path, Path], home: Path) -> None:
    put(home, "plain", noise=1.0)
    result = check(*ranked)
    assert not result.passed
    assert {failure.model for failure in result.failures if failure.criterion == "score"} == {"plain"}
    (cause,) = causes(result)
    assert cause.startswith("model: weights changed")
    conforms(result.as_dict())


def test_changed_preprocessing_fails_as_such(ranked: tuple[Path, Path], home: Path) -> None:
    put(home, "plain", preprocess=dataclasses.replace(made.SPEC, mean=(0.9, 0.1, 0.5)))
    result = check(*ranked)
    assert not result.passed
    assert causes(result) == {"preprocessing: mean [0.0, 0.0, 0.0] -> [0.9, 0.1, 0.5]"}


def test_a_relabelled_class_fails(ranked: tuple[Path, Path]) -> None:
    _, folder = ranked
    for path in sorted((folder / "cat").iterdir())[:12]:
        path.rename(folder / "coffee" / f"cat-{path.name}")
    result = check(*ranked)
    assert not result.passed
    cause = "labels: the same images in other classes: 'cat' 20 -> 8 images, 'coffee' 20 -> 32 images"
    assert causes(result) == {cause}


def test_a_renamed_class_passes_and_is_told(ranked: tuple[Path, Path]) -> None:
    _, folder = ranked
    (folder / "cat").rename(folder / "aardvark")
    result = check(*ranked)
    assert result.passed
    assert result.changes == ("labels: class 'cat' renamed to 'aardvark'",)
    assert "changed without causing a failure: labels: class 'cat'" in as_text(result)


def test_an_option_of_onnxruntime_that_moves_int8_fails(
    zoo_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without fused integer kernels, onnxruntime computes a quantized model in floating point."""
    folder = folder_of_pieces(tmp_path / "photos", count=12)
    images = leepfrog.find_images(folder)
    file = export_variant(find_models(FAST[:1])[0], "int8", images, VariantOptions())
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(leepfrog.rank(folder, [file.name], by="leep_loo", scores=["logme"]).as_dict()))
    assert check(path, folder, tolerance=0.01, context=RunContext(threads=1, batch_size=5)).passed
    monkeypatch.setenv("LEEPFROG_ORT_OPTIONS", "graph_optimization_level=disable")
    result = check(path, folder, tolerance=0.01)
    assert not result.passed
    assert causes(result) == {"runtime: ort_options none -> graph_optimization_level=disable"}


def test_a_larger_file_fails(ranked: tuple[Path, Path], home: Path) -> None:
    put(home, "plain", labels=tuple(f"class {i}" for i in range(made.CLASSES)), license="x" * 5000)
    result = check(*ranked, fail_on=["size"])
    assert [(failure.criterion, failure.model) for failure in result.failures] == [("size", "plain")]
    assert check(*ranked, fail_on=["score", "rank"]).passed


@pytest.mark.alone
def test_a_slower_model_fails_after_three_measurements(ranked: tuple[Path, Path], home: Path) -> None:
    """The changed model has the same outputs at 100 times the work: idle convolutions run before it."""
    path, folder = ranked
    for _ in range(5):  # retry, as a user would, if another process disturbed the measurement
        shutil.rmtree(home / "inference")  # including stored costs, so that they are measured again
        good = baseline(home, folder, path)
        if not any("relative_latency" in row["cost"]["doubtful"] for row in good["models"]):
            break
    assert check(path, folder, fail_on=["latency"], latency_tolerance=5.0).passed
    proto = onnx.load(home / "models" / "plain.onnx")
    idle = np.zeros((64, 64, 15, 15), np.float32)
    widen = np.zeros((64, 3, 1, 1), np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["image", "widen"], ["wide"]),
        onnx.helper.make_node("Conv", ["wide", "idle"], ["idle_0"], pads=[7] * 4),
        *(onnx.helper.make_node("Conv", [f"idle_{i}", "idle"], [f"idle_{i + 1}"], pads=[7] * 4) for i in range(7)),
        onnx.helper.make_node("ReduceSum", ["idle_7"], ["nothing"], keepdims=1),
        onnx.helper.make_node("Add", ["image", "nothing"], ["same"]),
    ]
    proto.graph.node[0].input[0] = "same"
    kept = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *kept])
    proto.graph.initializer.extend(
        [onnx.numpy_helper.from_array(idle, "idle"), onnx.numpy_helper.from_array(widen, "widen")]
    )
    (home / "models" / "plain.onnx").write_bytes(proto.SerializeToString())
    result = check(path, folder, fail_on=["score", "latency"], latency_tolerance=5.0)
    assert [(failure.criterion, failure.model) for failure in result.failures] == [("latency", "plain")]
    assert result.failures[0].causes[0].startswith("model: weights changed")


def test_the_latency_reference_is_what_the_exporter_makes() -> None:
    assert REFERENCE.read_bytes() == reference_graph().SerializeToString()


def rows(found: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in found["models"]}


def test_places_that_changed_fail_outside_of_ties_only(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "baseline.json"
    good = baseline(home, folder, path, by="ridge")
    assert not good["models"][0]["tied_with"]
    for tied, failing in ((False, 1), (True, 0)):
        turned = json.loads(json.dumps(good))
        ours, theirs = (rows(turned)[name] for name in NAMES)
        for row, score in ((ours, theirs["scores"]["ridge"]), (theirs, ours["scores"]["ridge"])):
            row["scores"] = {**row["scores"], "ridge": score}
        for row, other in ((ours, NAMES[1]), (theirs, NAMES[0])):
            row["tied_with"] = [other] if tied else []
        path.write_text(json.dumps(turned))
        assert len(check(path, folder, fail_on=["rank"]).failures) == failing


def edited(good: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """Return a copy of a baseline with one value of its first model replaced."""
    return {**good, "models": [{**good["models"][0], key: value}, *good["models"][1:]]}


def with_another_score(good: dict[str, Any]) -> dict[str, Any]:
    scores: dict[str, Any] = good["models"][0]["scores"]
    return {**scores, "fashion": scores["leep"]}


def test_a_baseline_that_lost_a_model_or_its_scores_is_none(ranked: tuple[Path, Path]) -> None:
    path, folder = ranked
    good = json.loads(path.read_text())
    lost = {**good, "models": good["models"][:1]}
    bare = {
        **good,
        "models": [{**row, "scores": {"head_accuracy": row["scores"]["head_accuracy"]}} for row in good["models"]],
    }
    huge = edited(good, "size_bytes", 10**400)
    slow = {**good, "receipt": {**good["receipt"], "seconds": 10**400}}
    for values, message in (
        (lost, "which is missing from the ranking"),
        (bare, "contains nothing to judge by score"),
        (huge, r"is not JSON.*beyond 2\^63"),
        (slow, "is not JSON, or is truncated"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(UsageError, match=message):
            check(path, folder, cached=True)


@pytest.mark.alone
def test_an_unchanged_model_is_as_quick_as_before(zoo_home: Path, tmp_path: Path) -> None:
    """At the default tolerance, if the baseline's cost was measured for longer, as the README recommends."""
    folder, path = folder_of_pieces(tmp_path / "photos", count=4), tmp_path / "baseline.json"
    (file,) = find_models(FAST[:1])
    store_cost(
        measure(file, "cpu", 1, 1.0), file, "cpu", pytest.fail
    )  # a doubtful cost is not stored; `rank` then measures it again
    path.write_text(json.dumps(leepfrog.rank(folder, FAST[:1], by="leep_loo", context=RunContext(threads=1)).as_dict()))
    assert check(path, folder, fail_on=["latency"], cached=True, context=RunContext(threads=1)).passed


def test_one_model_has_no_order(home: Path, tmp_path: Path) -> None:
    put(home, NAMES[0])
    folder, path = photographs(tmp_path / "photos"), tmp_path / "baseline.json"
    path.write_text(json.dumps(leepfrog.rank(folder, NAMES[:1], by="leep_loo").as_dict()))
    with pytest.raises(UsageError, match="contains nothing to judge by rank"):
        check(path, folder, fail_on=["rank"])
    assert check(path, folder, cached=True).criteria == ("score", "size")


def test_a_model_that_would_be_raced_away_is_judged(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = folder_of_pieces(tmp_path / "photos", count=40), tmp_path / "baseline.json"
    raced = baseline(home, folder, path, racing=True, by="leep_loo")
    left = {row["name"] for row in raced["models"]}
    assert check(path, folder).passed
    for name in left:
        put(home, name, noise=5.0)
    result = check(path, folder)
    assert {failure.model for failure in result.failures if failure.criterion == "score"} == left


def test_what_is_no_baseline_is_never_a_pass(ranked: tuple[Path, Path], home: Path, tmp_path: Path) -> None:
    path, folder = ranked
    good = json.loads(path.read_text())
    other = folder_of_pieces(tmp_path / "others", count=4, names=("china", "cat"))
    (other / "cat").rename(other / "feline")
    with pytest.raises(UsageError, match="was made from other images: none of its classes"):
        check(path, other)
    for values, message in (
        ({**good, "models": []}, "contains no models"),
        ({**good, "models": good["models"] * 2}, "contains the same model twice"),
        (edited(good, "cost", {"relative_latency": 0}), "cost has no field doubtful"),
        (edited(good, "cost", {"relative_latency": "1"}), "cost has no field doubtful"),
        (edited(good, "size_bytes", math.inf), r"is not JSON.*Infinity"),
        (edited(good, "scores", {}), "has no head_accuracy or size"),
        (edited(good, "scores", with_another_score(good)), "or one of its scores is missing from the new ranking"),
        (edited(good, "name", "other"), "lists '.*', which is missing from the ranking"),
        ({**good, "models": [{"name": "plain"}]}, r"ranking.models\[0\] has no rank"),
        ({**good, "kind": "validation", "schema_version": 2}, "validation has no n_train"),
        ({**good, "receipt": {**good["receipt"], "models": []}}, "lists no models"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(UsageError, match=message):
            check(path, folder)
    for call, message in (
        ({"fail_on": ["taste"]}, "criterion 'taste' is unknown"),
        ({"fail_on": []}, "fail_on is empty"),
        ({"tolerance": -1.0}, "tolerances must be 0 or more, and finite"),
        ({"tolerance": math.inf}, "tolerances must be 0 or more, and finite"),
        ({"tolerance": float("nan")}, "tolerances must be 0 or more"),
    ):
        with pytest.raises(UsageError, match=message):
            check(tmp_path / "baseline.json", folder, **call)  # type: ignore[arg-type]


def test_exit_codes_and_formats(ranked: tuple[Path, Path], home: Path, here: Here) -> None:
    done = here.call("check", *ranked, "-q")
    assert (done.code, done.out) == (
        0,
        f"passed; judged against {ranked[0]}: 8 scores, 1 pair of models (1 tied), 2 sizes\n",
    )
    put(home, "plain", noise=1.0)
    done = here.call("check", *ranked, "-q")
    assert done.code == 1
    assert done.out.startswith("FAILED score: plain: leep")
    assert "    why: model: weights changed" in done.out
    done = here.call("check", *ranked, "--format", "github", "-q")
    assert done.code == 1
    assert done.out.startswith("::error title=leepfrog score%3A plain::")
    done = here.call("check", *ranked, "--format", "junit", "-q")
    suite = ElementTree.fromstring(done.out)[0]  # noqa: S314 - our own output
    assert done.code == 1
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure")) > 0
    assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
    done = here.call("check", *ranked, "--format", "json", "-q")
    assert done.code == 1
    conforms(done.json)
    here.call("check", "absent.json", ranked[1]).check(2, "create a baseline with leepfrog rank DIR -o baseline.json")


def test_what_others_read_is_escaped() -> None:
    failure = Finding("score", "a:b,\n%<&\x00\ufffe", "leep", -1.0, -2.0, 0.1, True, ("model: another",))
    receipt = Receipt("rank", {}, None, {}, (), {}, 0, "now", 1.0, {})
    result = Check("x", ("score",), (failure,), (), receipt)
    first, *_ = as_github(result).split("\n")
    assert first.startswith("::error title=leepfrog score%3A a%3Ab%2C\\n%25<&\\x00\\ufffe::")
    case = ElementTree.fromstring(as_junit(result))[0][0]  # noqa: S314 - our own output
    assert case.get("name") == "a:b,\\n%<&\\x00\\ufffe leep"


SUITE = """
def test_models(leepfrog_check):
    leepfrog_check("baseline.json", "photos", models=["home/models"])
"""


def test_the_fixture_in_a_test_suite_of_its_own(ranked: tuple[Path, Path], home: Path) -> None:
    path, _ = ranked
    (path.parent / "test_models.py").write_text(SUITE)

    def run() -> subprocess.CompletedProcess[str]:
        tests = path.parent / "test_models.py"  # run from another directory
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stdout
    put(home, "plain", noise=1.0)
    (path.parent / "test_models.py").write_text(
        SUITE + SUITE.replace("test_models", "test_absent").replace("baseline", "absent")
    )
    done = run()
    assert done.returncode == 1
    assert "FAILED score: plain: leep" in done.stdout
    assert "why: model: weights changed" in done.stdout
    assert "No such file" in done.stdout
    assert "Traceback" not in done.stdout
