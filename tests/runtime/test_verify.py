"""leepfrog verify: results are reproduced from their receipts."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import leepfrog
import numpy as np
import pytest
from baselines import NAMES, baseline, conforms, model, photographs, put, two_models
from leepfrog.errors import LeepfrogError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.gate.baseline import Baseline
from leepfrog.gate.compare import Verification, compare
from leepfrog.gate.rerun import rerun
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.score_files import score_files
from leepfrog.validation.tasks import study_tasks
from leepfrog_exporter.gradient.probe import export_probe
from rankings import Listener

pytestmark = pytest.mark.full


def verified(path: Path, data: Path, context: RunContext | None = None, models: Sequence[Path] = ()) -> Verification:
    first = Baseline.read(path)
    return compare(first, rerun(first, data, models, context or RunContext()))


def test_every_kind_of_result_verifies(home: Path, tmp_path: Path) -> None:
    """A rerun without the cache and with another number of threads gives the same result."""
    two_models(home)
    export_probe(find_models(NAMES[:1])[0])
    folder, result = photographs(tmp_path / "photos"), tmp_path / "result.json"
    results = [
        leepfrog.rank(folder, NAMES).as_dict(),
        leepfrog.rank(folder, NAMES, by="leep_loo", scores=["all"], racing=True).as_dict(),
        leepfrog.validate(folder, NAMES, splits=2, scores=["ridge", "leep"]).as_dict(),
        study_tasks(folder, NAMES[0], 4).as_dict(),
    ]
    for values in results:
        result.write_text(json.dumps(values))
        verification = verified(result, folder, RunContext(threads=1, batch_size=5))
        assert verification.same, verification.differences
        assert verification.n_compared > 10
        conforms(verification.as_dict())
    embedding = leepfrog.embed(folder, NAMES[0])
    embedding.save(tmp_path / "task.npz")
    verification = verified(tmp_path / "task.npz", folder, RunContext(threads=1))
    assert verification.same
    assert verification.n_compared > len(embedding.vector)


def test_scores_of_arrays_verify(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "arrays" / f"{name}.npy" for name in ("labels", "probs", "features")]
    paths[0].parent.mkdir()
    for path, array in zip(
        paths, (np.arange(40) % 4, rng.dirichlet(np.ones(5), 40), rng.normal(size=(40, 6))), strict=True
    ):
        np.save(path, array)
    result = tmp_path / "scores.json"
    result.write_text(json.dumps(score_files(*paths, ["leep", "ridge"]).as_dict()))
    assert verified(result, tmp_path / "arrays").same
    np.save(paths[2], rng.normal(size=(40, 6)))
    verification = verified(result, tmp_path / "arrays")
    assert {difference.where.split(".")[1] for difference in verification.differences} == {"ridge"}
    assert verification.causes == ("data: array features changed",)
    values = json.loads(result.read_text())
    for outside in ("../labels.npy", str(paths[0]), "..", ""):
        values["receipt"]["arrays"]["labels"]["file"] = outside
        result.write_text(json.dumps(values))
        with pytest.raises(LeepfrogError, match=r"receipt\.arrays\.labels: .* is not a bare file name"):
            verified(result, tmp_path / "arrays")


def test_nothing_comes_from_the_cache_unless_asked(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    baseline(home, folder, path)
    kept = sorted((home / "inference").rglob("*.npy"))
    for cached, passes in ((False, 60), (True, 0)):
        again = rerun(Baseline.read(path), folder, [], RunContext(), cached=cached)
        assert isinstance(again, leepfrog.Ranking)
        assert [model.n_inferred for model in again] == [passes, passes]
    assert sorted((home / "inference").rglob("*.npy")) == kept


def test_what_changed_is_told(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    baseline(home, folder, path)
    put(home, "plain", noise=0.5)
    verification = verified(path, folder)
    assert not verification.same
    places = [difference.where for difference in verification.differences]
    assert "models.plain.scores.leep.value" in places
    assert not [where for where in places if where.startswith("models.coarse.scores.leep")]
    assert verification.causes[0].startswith("model: weights changed")
    assert verification.causes[0].endswith("(plain)")


def test_order_among_ties_is_no_difference(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    good = baseline(home, folder, path)
    now = json.loads(json.dumps(good))
    now["models"].reverse()
    for place, row in enumerate(now["models"], start=1):
        row["rank"] = place
    first = Baseline.read(path)

    def same(was: dict[str, Any]) -> bool:
        baseline = dataclasses.replace(first, result=leepfrog.Ranking.from_dict(was))
        return compare(baseline, leepfrog.Ranking.from_dict(now)).same

    assert same(good) == bool(good["models"][0]["tied_with"])
    tied = json.loads(json.dumps(good))
    for row in (*tied["models"], *now["models"]):
        row["tied_with"] = [name for name in NAMES if name != row["name"]]
    assert same(tied)
    for row in (*tied["models"], *now["models"]):
        row["tied_with"] = []
    assert not same(tied)


def test_models_are_found_elsewhere_by_name(home: Path, tmp_path: Path) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    baseline(home, folder, path)
    shutil.move(home / "models", tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no models have been exported yet"):
        verified(path, folder)
    put(home, "other")
    with pytest.raises(UsageError, match=r"the baseline's model '.*' was not found"):
        verified(path, folder)
    assert verified(path, folder, models=[tmp_path / "elsewhere"]).same
    (tmp_path / "elsewhere" / "copy.onnx").write_bytes(model("plain", noise=1.0).SerializeToString())
    with pytest.raises(UsageError, match="the baseline's model 'plain' was not found"):
        verified(path, folder, models=[tmp_path / "elsewhere"])


def test_what_was_forged_is_told(home: Path, tmp_path: Path) -> None:
    """Forged ranks, ties, duplicate rows and out-of-range numbers do not pass as the result of a second run."""
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    baseline(home, folder, path)
    now = json.loads(path.read_text())
    first, again = Baseline.read(path), leepfrog.Ranking.load(path)
    assert compare(first, again).same

    def forged(**changes: object) -> dict[str, Any]:
        return {**now, "models": [{**now["models"][0], **changes}, *now["models"][1:]]}

    for values in (
        forged(rank=2),
        forged(group=7),
        forged(tied_with=["plain", "coarse"]),
        forged(tied_with=None),
        forged(probability_best=10**400),
        {**now, "models": [forged(rank=0)["models"][0], *now["models"]]},
        {**now, "models": None},
        {**now, "models": [{}, *now["models"]]},
        {**now, "budget": {"latency": 1.0, "size": None, "memory": None}},
        {**now, "notes": ["all is well"]},
    ):
        try:
            ranking = leepfrog.Ranking.from_dict(values)
        except UsageError:  # a file with these values is refused as well
            continue
        assert not compare(dataclasses.replace(first, result=ranking), again).same
    for tolerance in (1.0, -1e-9, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="tolerance must be from 0 to below 1"):
            compare(first, again, tolerance)


def test_notes_may_name_the_folder_by_another_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "plain")
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    (folder / "stray.jpg").write_bytes((next(folder.glob("*/*"))).read_bytes())
    monkeypatch.chdir(tmp_path)
    first = leepfrog.rank("photos")
    assert any("photos" in note for note in first.notes)
    first.save(path)
    assert compare(Baseline.read(path), leepfrog.rank(folder)).same


def test_tied_models_that_change_places_are_the_same_result(home: Path, tmp_path: Path) -> None:
    """The reordered result has its own ranks and separation, as after a second run."""
    put(home, "plain")
    put(home, "coarse", noise=1e-3)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    baseline(home, folder, path)
    now = json.loads(path.read_text())
    assert now["separation"] is not None
    turned = json.loads(path.read_text())
    turned["models"].reverse()
    for place, row in enumerate(turned["models"], start=1):
        row["rank"] = place
    turned["separation"] |= {"first": turned["separation"]["second"], "second": turned["separation"]["first"]}
    assert compare(Baseline.read(path), leepfrog.Ranking.from_dict(turned)).same


@pytest.mark.parametrize(
    "arguments", [{"by": 3, "scores": None}, {"by": "leep", "scores": "all"}, {"taste": 1}, {"device": 0}]
)
def test_arguments_that_are_none(home: Path, tmp_path: Path, arguments: dict[str, object]) -> None:
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"
    good = baseline(home, folder, path)
    good["receipt"]["arguments"] = arguments
    path.write_text(json.dumps(good))
    with pytest.raises(UsageError):
        verified(path, folder)
    good["receipt"]["command"] = "bake"
    path.write_text(json.dumps(good))
    with pytest.raises(UsageError, match="made by 'bake', which cannot be run again"):
        rerun(Baseline.read(path), folder, [], RunContext(progress=Listener()))


def test_the_schema_of_a_verification_is_checked() -> None:
    with pytest.raises(jsonschema.ValidationError):
        conforms({"kind": "verification", "schema_version": 1})


def test_costs_are_measured_only_where_they_count(home: Path, tmp_path: Path) -> None:
    """`verify` compares no costs; they are measured only for a latency budget or on request."""
    two_models(home)
    folder, path = photographs(tmp_path / "photos"), tmp_path / "result.json"

    def stages(**how: Any) -> dict[str, list[int]]:
        listener = Listener()
        rerun(Baseline.read(path), folder, (), RunContext(progress=listener, **how), with_costs=False)
        return listener.stages

    leepfrog.rank(folder, NAMES).save(path)
    shutil.rmtree(home / "inference")
    assert "measuring" not in stages()
    assert "measuring" in stages(costs="here")
    leepfrog.rank(folder, NAMES, budget=leepfrog.Budget(latency=9.0)).save(path)
    assert "measuring" in stages()
    leepfrog.rank(folder, NAMES, context=RunContext(costs="kept")).save(path)
    listener = Listener()
    context = RunContext(costs="here", measure_again=True, progress=listener)
    leepfrog.check(path, folder, fail_on=["size"], context=context)
    assert "measuring" in listener.stages
