"""Models that output only features: ranked by feature scores, refused where probabilities are required."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from pathlib import Path

import leepfrog
import models_made as made
import numpy as np
import pytest
from baselines import conforms, photographs, put
from commands import Here
from leepfrog.cli.formats import Format
from leepfrog.cli.rank import render
from leepfrog.cli.result_options import ResultOptions
from leepfrog.cli.validate import verdict
from leepfrog.errors import ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.inference.device import available_threads
from leepfrog.inference.metadata import PREFIX, ModelMetadata, Variant
from leepfrog.inference.model import ModelFile, Session, problem_of_rows
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.decision import is_relative
from leepfrog.ranking.result import Ranking
from leepfrog.report.page import report_html
from leepfrog.scoring.registry import SCORES
from leepfrog.validation.tasks import study_tasks
from leepfrog_exporter.gradient.probe import export_probe
from machine_load import keep_costs
from onnx import ModelProto, TensorProto, helper
from photos import photo_set
from rankings import Listener

OF_PROBS = [name for name, score in SCORES.items() if score.reads == "probs"]
ALL = ("plain", "embedder", "other")
NOTE = "no leep_loo, leep without probabilities over source classes: embedder, other"


@pytest.fixture
def mixed(home: Path) -> Path:
    """A home with a classifier and two models without probabilities."""
    put(home, "plain")
    for name, license in (("embedder", ""), ("other", "x" * 1000)):
        (home / "models" / f"{name}.onnx").write_bytes(made.embedder(name, license=license).SerializeToString())
    keep_costs(find_models(()), available_threads())
    return home


def described(model: ModelProto, **texts: str) -> ModelProto:
    """Return the model with changed metadata entries; "" removes an entry."""
    props = {entry.key: entry.value for entry in model.metadata_props}
    props |= {PREFIX + key: text for key, text in texts.items()}
    del model.metadata_props[:]
    helper.set_model_props(model, {key: text for key, text in props.items() if text})
    return model


def session(model: ModelProto, path: Path) -> Session:
    path.write_bytes(model.SerializeToString())
    return Session(ModelFile.read(path), "cpu", 1)


# The contract


def test_features_alone(tmp_path: Path) -> None:
    loaded = session(made.embedder(), tmp_path / "model.onnx")
    assert (loaded.n_source, loaded.n_features) == (None, made.WIDTH)
    batch = made.images(3)
    outputs = loaded.run(batch)
    assert outputs[0] is None
    assert outputs[1].shape == (3, made.WIDTH)
    loaded.check_consistent(batch, outputs)
    with pytest.raises(ModelError, match="its features for an image change by"):
        loaded.check_consistent(batch, (None, outputs[1] + 1))
    assert problem_of_rows(None, np.float32([[1, 2], [np.nan, 0]])) == (1, "features with NaN or infinity")


def test_files_of_the_first_format_have_probs(tmp_path: Path) -> None:
    for has_probs in ("", "false"):  # a field that the first format does not have
        old = described(made.scoring(), format_version="1", has_probs=has_probs)
        assert session(old, tmp_path / "old.onnx").n_source == made.CLASSES
        assert ModelFile.read(tmp_path / "old.onnx").metadata.has_probs
    assert ModelMetadata("a", "b", made.SPEC).to_props()[f"{PREFIX}format_version"] == "2"


def test_what_metadata_and_graph_say_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="inputs or outputs are not those of a scoring model; export it again"):
        session(described(made.embedder(), has_probs="true"), path)
    with pytest.raises(ModelError, match="has an output probs that its metadata does not declare; export it again"):
        session(described(made.scoring(), has_probs="false"), path)
    with pytest.raises(ModelError, match="metadata is incomplete: 'has_probs'"):
        session(described(made.embedder(), has_probs=""), path)
    with pytest.raises(ModelError, match="has_probs is 1, not true or false"):
        session(described(made.embedder(), has_probs="1"), path)
    wrong = made.embedder()
    wrong.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(ModelError):
        session(wrong, path)


# The ranking


def test_ranked_among_others(mixed: Path, tmp_path: Path) -> None:
    folder, listener = photographs(tmp_path / "photos"), Listener()
    ranking = leepfrog.rank(folder, ALL, scores=["all"], context=RunContext(progress=listener))
    conforms(ranking.as_dict())
    assert Ranking.from_dict(json.loads(json.dumps(ranking.as_dict()))).as_dict() == ranking.as_dict()
    assert {model.name: model.n_source for model in ranking} == {"plain": made.CLASSES, "embedder": None, "other": None}
    assert {*ranking["plain"].scores} == {*SCORES, "head_accuracy"}
    assert {*ranking["embedder"].scores} == {*SCORES, "head_accuracy"} - {*OF_PROBS}
    assert all(score.interval is not None for model in ranking for score in model.scores.values())
    absent = "no leep_loo, leep, leep_loo_t, nce without probabilities over source classes: embedder, other"
    assert [note for note in ranking.notes if "without probabilities" in note] == [absent]
    # The scores of other models do not change.
    alone = leepfrog.rank(folder, ["plain"], scores=["all"])
    for name in SCORES:
        if not is_relative(name):
            assert ranking["plain"].scores[name].value == alone[0].scores[name].value
    again = leepfrog.rank(folder, ALL)
    assert [model.n_inferred for model in again] == [0, 0, 0]
    assert [model.scores["head_accuracy"].value for model in again] == [
        model.scores["head_accuracy"].value for model in ranking
    ]
    assert NOTE in again.notes


def test_shown(mixed: Path) -> None:
    ranking = leepfrog.rank(photo_set(6), ALL, scores=["leep_loo_t", "knn"])
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(render(ranking, ResultOptions(Format.csv))))}
    assert rows["embedder"]["n_source"] == rows["embedder"]["leep"] == rows["embedder"]["leep_loo_t_low"] == ""
    assert float(rows["plain"]["leep_loo_t"]) == ranking["plain"].scores["leep_loo_t"].value
    assert float(rows["embedder"]["knn"]) == ranking["embedder"].scores["knn"].value
    page = [line for line in render(ranking, ResultOptions(Format.md)).splitlines() if line.startswith("|")]
    header, _, *lines = [[cell.strip() for cell in line.split("|")] for line in page]
    shown = {cells[header.index("model")]: dict(zip(header, cells, strict=True)) for cells in lines[: len(ALL)]}
    assert shown["embedder"]["LEEP"] == shown["embedder"]["leep_loo_t"] == ""
    assert shown["embedder"]["knn"] == f"{ranking['embedder'].scores['knn'].value:.4f}"
    assert shown["plain"]["LEEP"] == f"{ranking['plain'].scores['leep'].value:.4f}"
    assert all(name in render(ranking, ResultOptions(Format.table)) for name in ALL)


def test_alone(mixed: Path, here: Here) -> None:
    photographs(here.folder / "photos")
    done = here.call("rank", "photos", "-m", "embedder,other", "--by", "ridge", "--report", "page.html")
    done.check(0)
    assert f"note: {NOTE}" in done.err
    assert "no classes of its own" not in (here.folder / "page.html").read_text()
    assert 'id="why"' not in (here.folder / "page.html").read_text()


def test_a_report_explains_the_models_that_have_classes(mixed: Path) -> None:
    images = photo_set(6)
    ranking, outputs = leepfrog.ranking.rank.ranked_outputs(leepfrog.RankRequest(), images, ALL, RunContext())
    models = tuple(dataclasses.replace(m, group=1) for m in sorted(ranking, key=lambda m: (m.name == "plain", m.name)))
    text = report_html(dataclasses.replace(ranking, models=models), outputs)
    assert "The first model, <bdi>embedder</bdi>, has no classes of its own" in text
    assert "<bdi>plain</bdi>: LOO-LEEP" in text
    assert "more tied" not in text


@pytest.mark.parametrize("by", OF_PROBS)
def test_not_ranked_by_what_it_lacks(by: str, mixed: Path) -> None:
    message = f"^{by} needs probabilities .*; these models have none: embedder, other; rank by .*ridge.*--models"
    with pytest.raises(UsageError, match=message):
        leepfrog.rank(photo_set(2), ALL, by=by)
    assert not [*(mixed / "inference").rglob("*.npy")]


def test_races(mixed: Path, here: Here) -> None:
    photographs(here.folder / "photos")
    line = ["rank", "photos", "-m", ",".join(ALL), "--race"]
    here.call(*line, "--by", "leep_loo").check(2, "leep_loo needs probabilities", "embedder, other")
    here.call(*line).check(0)
    here.call(*line, "--by", "ridge").check(0)


@pytest.mark.full
def test_a_variant_in_fewer_bits(mixed: Path) -> None:
    parent = find_models(["embedder"])[0]
    half = made.embedder("half", variant=Variant("fp16", "embedder", parent.sha256))
    (mixed / "models" / "half.onnx").write_bytes(half.SerializeToString())
    ranking = leepfrog.rank(photo_set(6), ["embedder", "half"])
    (drift,) = ranking.drifts
    assert (drift.model, drift.top1_agreement) == ("half", None)
    assert drift.score == pytest.approx(0, abs=1e-9)
    conforms(ranking.as_dict())
    assert "same top-1 %" in render(ranking, ResultOptions(Format.table))


# The cache


def test_shards_of_another_kind_of_model_are_damaged(mixed: Path) -> None:
    images, listener = photo_set(3), Listener()
    leepfrog.rank(images, ["embedder"])
    (shard,) = (mixed / "inference").glob("*/*.npy")
    records = np.load(shard)
    assert records.dtype.names == ("digest", "features")
    wide = np.zeros(1, [("digest", "V32"), ("probs", "<f4", (2,)), ("features", "<f4", (made.WIDTH,))])
    wide["probs"] = 0.5
    bad = np.load(shard)
    bad["features"][0, 0] = np.inf
    for content in (npy(wide), npy(bad), npy(records[["digest"]].copy())):
        shard.with_name(f"{hashlib.sha256(content).hexdigest()[:32]}.npy").write_bytes(content)
    again = leepfrog.rank(images, ["embedder"], context=RunContext(progress=listener))
    assert len([notice for notice in listener.notices if "is damaged" in notice]) == 3
    assert again[0].n_inferred == 0


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_probabilities_that_are_not_there(mixed: Path) -> None:
    (outputs,) = infer(photo_set(2), find_models(["embedder"]), RunContext().checked())
    assert outputs.widths == (None, made.WIDTH)
    assert outputs.features().shape == (6, made.WIDTH)
    with pytest.raises(UsageError, match="needs probabilities over source classes; these models have none: embedder"):
        outputs.probs()


# Other commands


def test_explain(mixed: Path, here: Here) -> None:
    photographs(here.folder / "photos")
    here.call("explain", "photos", "-m", "embedder").check(2, "an explanation of LEEP needs probabilities", "embedder")
    assert not [*(mixed / "inference").rglob("*.npy")]


def test_validate(mixed: Path, tmp_path: Path) -> None:
    validation = leepfrog.validate(photo_set(8), ALL, splits=2)
    conforms(validation.as_dict())
    scores = {row.name: row.scores for row in validation.models}
    for name in (*OF_PROBS, "static"):
        assert [scores[model][name] is None for model in ALL] == [False, True, True]
        assert validation.agreements["head"][name].n == 1
    assert validation.agreements["head"]["combined"].n == validation.agreements["head"]["ridge"].n == 3
    assert len([note for note in validation.notes if "without probabilities" in note]) == 1
    # A score that some models lack is not recommended, however well it ranks the others.
    for known, trusted in ((2, False), (3, True)):
        best = dataclasses.replace(validation.agreements["head"]["leep"], n=known, weighted_tau=1.0, regret=-1.0)
        by_truth = {truth: {**agreements, "leep": best} for truth, agreements in validation.agreements.items()}
        lines = verdict(dataclasses.replace(validation, agreements=by_truth))
        # With only three models, even the correct order may be due to chance.
        assert any("the best was leep:" in line for line in lines) == trusted
    none = leepfrog.validate(photo_set(8), ALL[1:], scores=["leep"], splits=1)
    assert [row.scores["leep"] for row in none.models] == [None, None]


@pytest.mark.full
def test_validate_in_words(mixed: Path, here: Here) -> None:
    photographs(here.folder / "photos")
    for scores in ("leep", "all"):
        for form in ("table", "csv", "md", "json"):
            line = ["validate", "photos", "-m", "embedder,other", "-s", scores, "--splits", "1", "--format", form]
            here.call(*line).check(0)
    line = ["validate", "photos", "-m", "embedder", "--tasks", "3"]
    here.call(*line).check(2, "leep, leep_loo needs probabilities", "embedder", "--score ridge")
    done = here.call(*line, "-s", "leep,ridge", "--plot", "tasks.svg")
    done.check(0, "ridge")
    assert "note: no leep without probabilities over source classes: embedder" in done.err


def test_studies_of_tasks(mixed: Path) -> None:
    study = study_tasks(photo_set(8), "embedder", 3, scores=["leep", "knn"])
    conforms(study.as_dict())
    assert all({*task.scores} == {"knn", "-log(classes)"} for task in study.tasks)


def test_embed(mixed: Path) -> None:
    export_probe(find_models(["embedder"])[0])
    embedding = leepfrog.embed(photo_set(4), "embedder", tolerance=0)
    assert np.isfinite(embedding.vector).all()
    assert embedding.vector.any()


@pytest.mark.full
def test_run_again_and_judged(mixed: Path, here: Here) -> None:
    photographs(here.folder / "photos")
    here.call("rank", "photos", "-m", ",".join(ALL), "-o", "base.json").check(0)
    here.call("verify", "base.json", "photos").check(0)
    here.call("check", "base.json", "photos").check(0)
    # The model no longer has probabilities.
    (mixed / "models" / "plain.onnx").write_bytes(made.embedder("plain").SerializeToString())
    here.call("check", "base.json", "photos").check(2, "plain or one of its scores is missing from the new ranking")


def test_nobody_reads_of_leep_where_no_model_has_it(mixed: Path) -> None:
    alone = render(leepfrog.rank(photo_set(6), ["embedder", "other"]), ResultOptions(Format.table))
    assert "LEEP" not in alone
    assert "LEEP: 0 is perfect" in render(leepfrog.rank(photo_set(6), ALL), ResultOptions(Format.table))
