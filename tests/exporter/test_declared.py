"""What files declare of themselves: JSON files of Hugging Face, and Ultralytics' metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models_made as made
import pytest
from leepfrog.errors import ModelError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog_exporter.declared import Declaration, declaration
from leepfrog_exporter.draft import ExportOptions
from leepfrog_exporter.export import export
from onnx import ModelProto, helper
from rankings import Listener

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": True}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AROUND_HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
SQUARE = {"height": 224, "width": 224}


def spec(side: int, resized: int, mode: str = "cover", filter_: str = "bilinear", **values: Any) -> PreprocessSpec:
    given = {"mean": MEAN, "std": STD} | values
    return PreprocessSpec((side, side), (resized, resized), mode, filter_, **given)  # type: ignore[arg-type]


# The resulting pixels were compared with those of transformers 4.57's own processors.
PROCESSORS: dict[str, tuple[dict[str, Any], PreprocessSpec]] = {
    "ViT": ({"size": SQUARE, "resample": 2, **HALF}, spec(224, 224, "stretch", **AROUND_HALF)),
    "ViT, as first written": ({"size": 224, "resample": 2, **HALF}, spec(224, 224, "stretch", **AROUND_HALF)),
    "DeiT": (
        {"size": {"height": 256, "width": 256}, "crop_size": SQUARE, "do_center_crop": True, "resample": 3, **IMAGENET},
        spec(224, 256, "stretch", "bicubic"),
    ),
    "DINOv2": (
        {"size": {"shortest_edge": 256}, "crop_size": SQUARE, "do_center_crop": True, "resample": 3, **IMAGENET},
        spec(224, 256, "cover", "bicubic"),
    ),
    "CLIP, as first written": (
        {"size": 224, "crop_size": 224, "do_center_crop": True, "resample": 3, **IMAGENET},
        spec(224, 224, "cover", "bicubic"),
    ),
    "ConvNeXT": ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3, **IMAGENET},
                 spec(224, 256, "cover", "bicubic")),
    "ConvNeXT, large": ({"size": {"shortest_edge": 384}, "crop_pct": 0.875, **IMAGENET}, spec(384, 384, "stretch")),
    "LeViT": (
        {"image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 224}, "crop_size": SQUARE,
         "do_center_crop": True, "resample": 3, **IMAGENET},
        spec(224, 256, "cover", "bicubic"),
    ),
    "PoolFormer": (
        {"size": {"shortest_edge": 224}, "crop_size": SQUARE, "crop_pct": 0.9, "do_center_crop": True, "resample": 3,
         **IMAGENET},
        spec(224, 248, "cover", "bicubic"),
    ),
    "MobileViT, in BGR": (
        {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}, "do_center_crop": True,
         "do_flip_channel_order": True},
        spec(256, 288, mean=(0.0,) * 3, std=(1.0,) * 3, channel_order="bgr"),
    ),
    "EfficientNet, which divides twice": (
        {"size": {"height": 346, "width": 346}, "resample": 0, "include_top": True, **HALF},
        spec(346, 346, "stretch", "nearest", mean=(0.5,) * 3, std=(0.25,) * 3),
    ),
    "from -1 to 1 without statistics": (
        {"size": SQUARE, "rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
        spec(224, 224, "stretch", **AROUND_HALF),
    ),
    "pixels from 0 to 255": (
        {"size": SQUARE, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
        spec(224, 224, "stretch", **AROUND_HALF),
    ),
}  # fmt: skip


def folder_with(folder: Path, **files: object) -> Path:
    """Write JSON files, and return the path of a model beside them, which need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "model.onnx"


@pytest.mark.parametrize(("given", "expected"), PROCESSORS.values(), ids=PROCESSORS.keys())
def test_processors_of_transformers(given: dict[str, Any], expected: PreprocessSpec, tmp_path: Path) -> None:
    found = declaration(folder_with(tmp_path, preprocessor_config=given), ModelProto()).preprocess
    assert found is not None
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)
    given_numbers = {"mean": expected.mean, "std": expected.std}
    assert PreprocessSpec(**(vars(found) | given_numbers)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"preprocessor_config\.json: is not JSON"),
        ({"size": {"longest_edge": 8}}, "not supported: KeyError: 'height'"),
        ({"size": 8, "resample": 99}, "not supported: KeyError: 99"),
        ({"image_mean": [0.5], "image_std": [0.5], "size": 8}, "expected three numbers"),
        ({"size": 1e9}, "whole numbers from 1 to 4096"),
        ({"size": SQUARE, "image_mean": [0, 0, 0], "image_std": [0, 0, 0]}, "std must not be 0"),
        ({"size": 224, "crop_pct": 0}, None),
        ({"size": {"shortest_edge": 224}, "crop_size": 256, "do_center_crop": True}, "smaller than input_size"),
        ({"size": {"shortest_edge": 224}, "rescale_factor": 0}, "ZeroDivisionError"),
    ],
)
def test_bad_processors(content: object, message: str | None, tmp_path: Path) -> None:
    path = folder_with(tmp_path, preprocessor_config=content)
    if message is None:
        declaration(path, ModelProto())
        return
    with pytest.raises(ModelError, match=message) as caught:
        declaration(path, ModelProto())
    assert "\n" not in str(caught.value)


def test_labels_and_names(tmp_path: Path) -> None:
    config = {"model_type": "vit", "_name_or_path": "google/vit-base-patch16", "id2label": {"1": "dog", "0": "cat"}}
    path = folder_with(tmp_path / "a", config=config)
    assert declaration(path, ModelProto()) == Declaration(None, ("cat", "dog"), "vit-base-patch16")
    above = tmp_path / "a" / "onnx" / "model_quantized.onnx"  # as onnx-community arranges it
    assert declaration(above, ModelProto()).name == "vit-base-patch16-quantized"
    path = folder_with(tmp_path / "b", config={"model_type": "vit", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    assert declaration(path, ModelProto()) == Declaration(None, (), "b")
    assert declaration(path.with_name("tower.onnx"), ModelProto()).name == "tower"
    path = folder_with(tmp_path / "c", config={"of": "something else"})
    assert declaration(path, ModelProto()) == Declaration()


def test_an_optimum_folder_is_exported_as_it_is(home: Path, tmp_path: Path) -> None:
    """No option is needed: the graph leaves batch, channels, height and width open, and the JSON files say the rest."""
    config = {"model_type": "vit", "id2label": {str(i): name for i, name in enumerate("abcde")}}
    processor = {"size": {"height": made.SIDE, "width": made.SIDE}, **HALF}
    path = folder_with(tmp_path / "tiny-vit", config=config, preprocessor_config=processor)
    shape = ("batch_size", "num_channels", "height", "width")
    made.classifier(shape=shape, names=("pixel_values", "deep", "logits")).save(path)
    file = export(f"onnx:{path}")
    assert (file.name, file.metadata.labels) == ("tiny-vit", tuple("abcde"))
    assert file.metadata.preprocess.input_size == (made.SIDE, made.SIDE)
    larger = export(f"onnx:{path}", ExportOptions(name="larger", preprocess=made.input_size(16))).metadata
    assert (larger.preprocess.input_size, larger.preprocess.resize_size) == ((16, 16), (16, 16))
    path = folder_with(tmp_path / "tiny-vit", config={**config, "id2label": {"0": "x", "1": "y"}})
    listener = Listener()
    assert export(f"onnx:{path}", ExportOptions(name="other"), listener).metadata.labels == ()
    assert listener.notices == ["other: ignores the 2 declared labels: it has 5 classes"]


def of_ultralytics(path: Path, **changes: str) -> Path:
    model = made.classifier(
        tail=("Softmax",), shape=(1, 3, made.SIDE, made.SIDE), names=("images", "d", "output0")
    ).model
    names = "{0: 'tench', 1: \"it's\", 2: 'c', 3: 'd', 4: 'e'}"
    given = {"task": "classify", "imgsz": "[8, 8]", "names": names, "license": "AGPL-3.0", "stride": "1"}
    helper.set_model_props(model, given | changes)
    path.write_bytes(model.SerializeToString())
    return path


def test_metadata_of_ultralytics(home: Path, tmp_path: Path) -> None:
    metadata = export(f"onnx:{of_ultralytics(tmp_path / 'yolo.onnx')}").metadata
    assert metadata.labels == ("tench", "it's", "c", "d", "e")
    assert metadata.preprocess == PreprocessSpec(input_size=(8, 8), resize_size=(8, 8))
    assert metadata.license == "AGPL-3.0"
    with pytest.raises(ModelError, match=r"made for the task 'detect', not a classifier.*--features VALUE"):
        export(f"onnx:{of_ultralytics(tmp_path / 'detect.onnx', task='detect')}")
    chosen = export(f"onnx:{tmp_path / 'detect.onnx'}", ExportOptions(features="maps", no_probs=True))
    assert chosen.metadata.preprocess.pad_color == (114, 114, 114)
    for changes, message in (
        ({"names": "__import__('os')"}, "its metadata names is"),
        ({"names": "{0: 'a', 2: 'b'}"}, "its metadata names is"),
        ({"imgsz": "(" * 500}, "its metadata imgsz is"),
        ({"imgsz": "[8, 8, 8]"}, "its metadata imgsz is"),
    ):
        with pytest.raises(ModelError, match=message):
            export(f"onnx:{of_ultralytics(tmp_path / 'bad.onnx', **changes)}")


def test_other_numbers_of_channels(home: Path, tmp_path: Path) -> None:
    network = made.classifier(shape=("N", 4, made.SIDE, made.SIDE))
    with pytest.raises(ModelError, match=r"4 channels, but photographs have 3 \(or 1, gray\); put a layer before"):
        export(f"onnx:{network.save(tmp_path / 'four.onnx')}", made.options())
