"""Reduced-precision variants: preserved metadata, choice of recipe, and drifts in rankings."""

from __future__ import annotations

import json
from pathlib import Path

import models_made as made
import numpy as np
import onnx
import onnxruntime
import pytest
from commands import Here
from leepfrog.errors import DataSetError, ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.images.find import find_images
from leepfrog.inference.metadata import ModelMetadata, Variant
from leepfrog.inference.model import ModelFile, Session
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.rank import rank
from leepfrog_exporter.precision.agreement import agreement
from leepfrog_exporter.precision.half import to_half
from leepfrog_exporter.precision.int8 import RECIPES, Recipe, to_int8
from leepfrog_exporter.precision.variant import VariantOptions, export_variant
from onnx import TensorProto, numpy_helper
from photos import folder_of_pieces, photo_set

pytestmark = pytest.mark.full

IMAGES = photo_set(8)


def batches(n: int) -> list[np.ndarray]:
    return list(made.images(n)[:, None])


def outputs(model: onnx.ModelProto, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = [session.run(["probs", "features"], {"image": image}) for image in images]
    return np.concatenate([p for p, _ in results]), np.concatenate([f for _, f in results])


@pytest.fixture
def parent(home: Path) -> ModelFile:
    """Synthetic scoring model in the models folder."""
    (home / "models").mkdir(parents=True)
    path = home / "models" / "made.onnx"
    path.write_bytes(made.scoring(top1=50.0, n_parameters=7, macs=9).SerializeToString())
    return ModelFile.read(path)


def test_real_variants_and_their_drift(zoo_home: Path, tmp_path: Path, here: Here) -> None:
    """Export MobileNetV2 with real weights via the command line, calibrated on photographs, and rank it."""
    folder = folder_of_pieces(tmp_path / "photos", 16)
    command = ["export", "mobilenet_v2", "--precision", "int8,fp16", "--calibrate", str(folder), "-q"]
    done = here.call(*command)
    done.check(0)
    lines = done.out.splitlines()
    # Two results, with the tried recipes below the first, and no output of the quantizer itself.
    assert [line.startswith("    per ") for line in lines] == [False, True, True, True, True, False]
    parent, int8, fp16 = find_models(["mobilenet_v2", "mobilenet_v2-int8", "mobilenet_v2-fp16"])
    assert int8.size < 0.3 * parent.size
    assert 0.45 * parent.size < fp16.size < 0.55 * parent.size
    for file in (int8, fp16):
        assert file.metadata.variant is not None
        assert file.metadata.variant.parent_sha256 == parent.sha256
        assert file.metadata.preprocess == parent.metadata.preprocess
        assert file.metadata.labels == parent.metadata.labels
        assert (file.metadata.n_parameters, file.metadata.macs) == (
            parent.metadata.n_parameters,
            parent.metadata.macs,
        )
        assert file.metadata.top1 is None
    assert fp16.metadata.parity["top1_agreement"] >= 0.9
    assert fp16.metadata.parity["features_cosine"] > 0.9999
    assert int8.metadata.parity["top1_agreement"] >= 0.6
    assert int8.metadata.parity["features_cosine"] > 0.94  # x86 without VNNI saturates: 0.959; 0.98 with VNNI
    # With batch norm folded in, filters differ by orders of magnitude.
    assert "per channel" in int8.metadata.variant.recipe
    ranking = rank(folder, ["mobilenet_v2*"], by="ridge", context=RunContext(threads=1))
    drifts = {drift.model: drift for drift in ranking.drifts}
    assert set(drifts) == {"mobilenet_v2-int8", "mobilenet_v2-fp16"}
    rows = {row.name: row for row in ranking.models}
    for name, drift in drifts.items():
        row, base = rows[name], rows["mobilenet_v2"]
        assert drift.parent == "mobilenet_v2"
        assert drift.score == pytest.approx(row.scores["ridge"].value - base.scores["ridge"].value)
        assert drift.latency == pytest.approx(row.cost.latency / base.cost.latency)
        assert drift.size == pytest.approx(row.size_bytes / base.size_bytes)
        assert drift.top1_agreement > 0.6
        assert "broken" not in drift.verdict
        assert ("slower" in drift.verdict) == (drift.latency > 1.05 and not drift.latency_in_doubt)
    assert json.loads(json.dumps(ranking.as_dict()))["drifts"][0]["parent"] == "mobilenet_v2"
    # Without the parent there is nothing to compare with.
    assert rank(folder, ["mobilenet_v2-int8"], by="ridge", context=RunContext(threads=1)).drifts == ()


def test_agreement_by_hand() -> None:
    probs = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]], np.float32)
    other = np.array([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2], [0.1, 0.9]], np.float32)
    features = np.array([[1, 0], [0, 2], [3, 0], [0, 0]], np.float32)
    moved = np.array([[2, 0], [2, 0], [1, 1], [0, 0]], np.float32)
    result = agreement((probs, features), (other, moved))
    assert result.top1 == 0.75
    assert result.features == pytest.approx((1 + 0 + np.sqrt(0.5) + 1) / 4)
    assert result.n_images == 4


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_int8_stays_near_and_its_softmax_in_float(recipe: Recipe) -> None:
    model, images = made.scoring(), batches(40)
    _, features = outputs(model, images)
    ((tried, quantized),) = to_int8(model, images, [recipe])
    assert tried == recipe
    own_probs, own_features = outputs(quantized, images)
    assert np.abs(own_features - features).max() < 0.06 * np.abs(features).max()
    assert np.abs(own_probs.sum(axis=1) - 1).max() < 1e-5
    weights = {t.name: t for t in quantized.graph.initializer}
    filters = [t for t in weights.values() if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
    assert [list(t.dims) for t in filters] == [[made.WIDTH, 3, 3, 3]]
    scales = [n for n in quantized.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == filters[0].name]
    assert list(weights[scales[0].input[1]].dims) == ([made.WIDTH] if recipe.per_channel else [])
    (softmax,) = [n for n in quantized.graph.node if n.op_type == "Softmax"]
    assert softmax.output[0] == "probs"


def test_the_recipe_that_agrees_best_is_taken(home: Path) -> None:
    """If one filter is 1000 times as large as the others, a common scale would round the others to zero."""
    model = made.scoring()
    (filters,) = [t for t in model.graph.initializer if t.name == "filters"]
    values = numpy_helper.to_array(filters) * np.array([1000, 1, 1, 1, 1, 1], np.float32)[:, None, None, None]
    (linear,) = [t for t in model.graph.initializer if t.name == "linear"]
    head = numpy_helper.to_array(linear) * np.array([0.001, 1, 1, 1, 1, 1], np.float32)[:, None]
    filters.CopyFrom(numpy_helper.from_array(values.astype(np.float32), "filters"))
    linear.CopyFrom(numpy_helper.from_array(head.astype(np.float32), "linear"))
    path = home / "models" / "made.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    variant = export_variant(ModelFile.read(path), "int8", IMAGES).metadata.variant
    assert variant is not None
    tried = {entry["recipe"]: (entry["top1_agreement"], entry["features_cosine"]) for entry in variant.tried}
    assert set(tried) == {str(recipe) for recipe in RECIPES}
    assert tried[variant.recipe] == max(tried.values())


def test_fp16_keeps_float_probabilities() -> None:
    model, images = made.scoring(), batches(8)
    probs, features = outputs(model, images)
    half = to_half(made.scoring())
    own_probs, own_features = outputs(half, images)
    assert {t.data_type for t in half.graph.initializer if t.name == "filters"} == {TensorProto.FLOAT16}
    assert np.abs(own_probs.sum(axis=1) - 1).max() < 1e-6
    np.testing.assert_allclose(own_probs, probs, atol=5e-3)
    np.testing.assert_allclose(own_features, features, atol=5e-3)
    assert not np.array_equal(own_features, features)


def test_what_overflows_in_fp16_is_refused_and_leaves_no_file(home: Path) -> None:
    model = made.scoring()
    (filters,) = [t for t in model.graph.initializer if t.name == "filters"]
    filters.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(filters) * np.float32(6e4), "filters"))
    path = home / "models" / "made.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^made in fp16: outputs .*NaN or infinity"):
        export_variant(ModelFile.read(path), "fp16", IMAGES)
    assert [p.name for p in path.parent.iterdir()] == ["made.onnx"]


def test_refusals(parent: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fp16, int8"):
        export_variant(parent, "int4", IMAGES)
    with pytest.raises(UsageError, match="--calibrate DIR"):
        export_variant(parent, "int8")
    with pytest.raises(DataSetError, match="6 usable images; calibration needs at least 10"):
        export_variant(parent, "int8", photo_set(2))
    variant = export_variant(parent, "fp16")
    assert variant.metadata.parity["synthetic"] is True
    with pytest.raises(UsageError, match="made-fp16 is already fp16; export made in int8"):
        export_variant(variant, "int8", IMAGES)
    # Another model is not overwritten; the variant's own file is.
    with pytest.raises(UsageError, match="already exists"):
        export_variant(parent, "fp16", options=VariantOptions(name="made"))
    export_variant(parent, "fp16")
    export_variant(parent, "fp16", options=VariantOptions(output=tmp_path / "x.onnx"))
    assert (tmp_path / "x.onnx").exists()


def test_a_parent_s_name_is_no_path(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "parent.onnx"
    path.write_bytes(made.scoring(name="../../outside").SerializeToString())
    parent = ModelFile.read(path)
    with pytest.raises(UsageError, match="cannot be a file name"):
        export_variant(parent, "fp16")
    export_variant(parent, "fp16", options=VariantOptions(name="inside", output=tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".onnx") == ["inside.onnx", "parent.onnx"]
    assert not list(tmp_path.parent.glob("outside*"))


def test_a_quantized_model_is_not_quantized_again(parent: ModelFile) -> None:
    images = batches(12)
    ((_, once),) = to_int8(made.scoring(), images, RECIPES[:1])
    with pytest.raises(ModelError, match="already quantized"):
        list(to_int8(once, images))


def test_broken_images_do_not_calibrate(parent: ModelFile, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", 6)
    (folder / "cat" / "broken.jpg").write_bytes(b"nothing")
    assert export_variant(parent, "int8", find_images(folder)).metadata.parity["n_inputs"] == 9


def test_metadata_of_variants_survive_and_are_checked() -> None:
    measured = {"top1_agreement": 1.0, "features_cosine": 1.0, "n_inputs": 4}
    variant = Variant("int8", "made", "0" * 64, "per tensor", ({"recipe": "per tensor", **measured},))
    metadata = ModelMetadata("made-int8", "onnx:made.onnx (int8)", made.SPEC, parity=measured, variant=variant)
    assert ModelMetadata.from_props(metadata.to_props()) == metadata
    for wrong in ('"int8"', '{"precision": "int8"}', '{"precision": 8}', "[1]", "7"):
        with pytest.raises(ModelError):
            ModelMetadata.from_props({**metadata.to_props(), "leepfrog.variant": wrong})


def test_a_file_that_came_quantized_can_join(home: Path, parent: ModelFile, tmp_path: Path) -> None:
    """A third-party quantized classifier has no metadata, and its head follows a DequantizeLinear."""
    from leepfrog_exporter.export import export

    ((_, quantized),) = to_int8(made.scoring(), batches(20), RECIPES[1:2])
    del quantized.metadata_props[:]
    del quantized.graph.output[1:]
    path = tmp_path / "stranger.onnx"
    path.write_bytes(quantized.SerializeToString())
    file = export(f"onnx:{path}", made.options())
    session = Session(file, "cpu", 1)
    assert (session.n_source, session.n_features) == (made.CLASSES, made.WIDTH)
    _, features = session.run(made.images(4))
    assert np.isfinite(features).all()
    assert sum(node.op_type == "DequantizeLinear" for node in onnx.load(file.path).graph.node) > 2
