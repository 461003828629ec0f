"""Hugging Face folders: preprocessor_config.json and config.json beside an ONNX file, or in the folder above it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leepfrog.errors import ModelError
from leepfrog.files import LARGEST_TEXT, printable, read_regular
from leepfrog.images.preprocess import PreprocessSpec
from onnx import ModelProto

from leepfrog_exporter.declared import Declaration

Config = Mapping[str, Any]

PREPROCESSOR, CONFIG = "preprocessor_config.json", "config.json"
# Pillow's numbers of filters.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# ConvNeXT's processors crop a part of larger images, below this side.
_LEAST_UNCROPPED = 384
# File names that say nothing of the model; the rest, such as "quantized", distinguishes variants.
_USUAL_STEM = "model"


def declared(path: Path, model: ModelProto) -> Declaration | None:
    """Return what the JSON files beside a model say; see `Format.declared`."""
    # Optimum writes all files into one folder; onnx-community has the graphs in a subfolder named onnx.
    folders = [path.parent, *([path.parent.parent] if path.parent.name == "onnx" else [])]
    for folder in folders:
        config, processor = _read(folder / CONFIG), _read(folder / PREPROCESSOR)
        if processor or "model_type" in config:
            preprocess = _preprocess(processor, folder / PREPROCESSOR) if processor else None
            named = config.get("_name_or_path")
            whole = named if isinstance(named, str) and named.strip("/.") else folder.resolve().name
            return Declaration(preprocess, _labels(config), name_of(path, whole))
    return None


def _read(path: Path) -> Config:
    if not path.exists():
        return {}
    try:
        found = json.loads(read_regular(path, LARGEST_TEXT))
    except OSError as error:
        raise ModelError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{printable(path)}: is not JSON") from None
    return found if isinstance(found, dict) else {}


def _labels(config: Config) -> tuple[str, ...]:
    """Return the class names in `id2label`; () if there are none, or only placeholders."""
    given = config.get("id2label")
    if not isinstance(given, dict) or not all(str(key).isdigit() for key in given):
        return ()
    names = {int(key): str(name) for key, name in given.items()}
    if sorted(names) != list(range(len(names))) or all(name == f"LABEL_{i}" for i, name in names.items()):
        return ()
    return tuple(names[i] for i in range(len(names)))


def name_of(path: Path, repository: str) -> str:
    """Return a name from a repository instead of `model.onnx`, with what distinguishes variants of the file.

    >>> name_of(Path("onnx/model_fp16.onnx"), "facebook/dinov2-small"), name_of(Path("tower.onnx"), "ORG/NAME")
    ('dinov2-small-fp16', 'tower')
    """
    if not path.stem.startswith(_USUAL_STEM):
        return path.stem
    variant = path.stem.removeprefix(_USUAL_STEM).strip("_-.")
    return "-".join(filter(None, (repository.rstrip("/").rpartition("/")[2], variant)))


def _preprocess(config: Config, where: Path) -> PreprocessSpec:
    """Translate the settings of an image processor.

    Raises:
        ModelError: they are incomplete or invalid.
    """
    try:
        input_size, resize_size, mode = _sizes(config)
        mean, std = _statistics(config)
        # MobileViT's processor swaps red and blue.
        order = "bgr" if config.get("do_flip_channel_order") else "rgb"
        return PreprocessSpec(
            input_size=input_size,
            resize_size=resize_size,
            resize_mode=mode,  # type: ignore[arg-type]  # checked by PreprocessSpec
            interpolation=_FILTERS[int(config.get("resample", 2))],
            mean=mean,
            std=std,
            channel_order=order,  # type: ignore[arg-type]
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {str(error)[:100]}"
        raise ModelError(f"{printable(where)}: its preprocessing is not supported: {reason}") from None


def _sizes(config: Config) -> tuple[tuple[int, int], tuple[int, int], str]:
    """Return the input size, the size before the crop, and the resize mode."""
    given = config.get("size", config.get("crop_size"))
    crops = bool(config.get("do_center_crop", "crop_size" in config))
    crop = _side_by_side(config.get("crop_size")) if crops else None
    fraction = _crop_fraction(config)
    is_edge = isinstance(given, Mapping) and "shortest_edge" in given
    if is_edge or (isinstance(given, int | float) and crops):  # early processors have plain numbers
        edge = int(given["shortest_edge"] if isinstance(given, Mapping) else given)
        if fraction < 1 and crop is None and edge >= _LEAST_UNCROPPED:
            return (edge, edge), (edge, edge), "stretch"
        larger = int(edge / fraction)
        # Without a crop, the processor leaves images oblong; the network needs a square.
        return crop or (edge, edge), (larger, larger), "cover"
    whole = _side_by_side(given)
    if whole is None:
        raise KeyError("size")
    if fraction < 1:
        return whole, (int(whole[0] / fraction), int(whole[1] / fraction)), "cover"
    return crop or whole, whole, "stretch"


def _crop_fraction(config: Config) -> float:
    """Return the part of the resized image that the crop keeps, by the name of the processor or by its settings."""
    named = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    return 224 / 256 if named.startswith("Levit") else float(config.get("crop_pct") or 1)


def _side_by_side(size: object) -> tuple[int, int] | None:
    """Return (height, width) from the forms in which processors write a size; None if there is none."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        return int(size["height"]), int(size["width"])
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return None if size is None else (int(size), int(size))  # type: ignore[call-overload]  # TypeError is caught


def _statistics(config: Config) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and std for pixels scaled to 0..1."""
    normalizes = config.get("do_normalize", "image_mean" in config)
    mean = _three(config["image_mean"]) if normalizes else [0.0] * 3
    std = _three(config["image_std"]) if normalizes else [1.0] * 3
    if config.get("include_top"):  # EfficientNet's processor divides a second time
        std = [value * value for value in std]
    factor = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    # (factor * pixel - offset - mean) / std, with pixel = 255 x
    offset = 1.0 if config.get("rescale_offset") else 0.0
    scale = 255 * factor
    first, second, third = ((m + offset) / scale for m in mean)
    of_first, of_second, of_third = (s / scale for s in std)
    return (first, second, third), (of_first, of_second, of_third)


def _three(values: object) -> list[float]:
    if isinstance(values, int | float):
        return [float(values)] * 3
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"expected three numbers, not {values!r}")
    return [float(value) for value in values]
