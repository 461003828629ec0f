"""Preprocessing for models that do not declare it: named presets, which the user's own values override."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from leepfrog.arguments import check_name
from leepfrog.errors import UsageError
from leepfrog.images.preprocess import PreprocessSpec, for_bytes
from numpy.typing import NDArray

from leepfrog_exporter.choices import PRESETS
from leepfrog_exporter.graph.first_operators import Scaling


def maps_to_bytes(spec: PreprocessSpec) -> bool:
    """Return whether the graph receives pixels as whole numbers 0..255."""
    return (tuple(spec.mean), tuple(spec.std)) == (PRESETS["raw"]["mean"], PRESETS["raw"]["std"])


# Fraction of each side of the resized image that the crop keeps, as in 224 of 256.
CROP_FRACTION = 0.875


@dataclasses.dataclass(frozen=True)
class PreprocessChoice:
    """Preprocessing options given by the user; None where an option was not given.

    Attributes:
        preset: name of a preset, a key of PRESETS.
        input_size, resize_size, resize_mode, interpolation, mean, std, channel_order, pad_color: as in PreprocessSpec.
    """

    preset: str | None = None
    input_size: tuple[int, int] | None = None
    resize_size: tuple[int, int] | None = None
    resize_mode: str | None = None
    interpolation: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channel_order: str | None = None
    pad_color: tuple[int, int, int] | None = None

    def spec(self, input_size: tuple[int, int], stated: PreprocessSpec | None, where: str) -> PreprocessSpec:
        """Return the complete preprocessing of a model with the given input size.

        Args:
            input_size: (height, width) of the graph.
            stated: preprocessing declared by the file or library; the user's options override it.
            where: name of the model in messages.

        Raises:
            UsageError: the pixel scaling or the color of letterbox margins is unknown; a guess would silently give
                wrong results.
            ModelError: a value is invalid.
        """
        if self.preset is not None:
            check_name("preset", self.preset, PRESETS)
        if stated is None and self.preset is None and (self.mean is None or self.std is None):
            raise UsageError(
                f"{where} does not declare its preprocessing; add --preprocess imagenet (torchvision, timm), "
                "inception (TensorFlow, Keras), unit (0..1), raw (0..255) or caffe, or --mean and --std"
            )
        resize = tuple(round(side / CROP_FRACTION) for side in input_size)
        values: dict[str, Any] = {"input_size": input_size, "resize_size": resize}
        if stated is not None:
            values |= {field.name: getattr(stated, field.name) for field in dataclasses.fields(stated)}
            # The declared crop keeps its share of the image at another input size.
            sides = zip(stated.resize_size, input_size, stated.input_size, strict=True)
            values["resize_size"] = tuple(round(side * size / of) for side, size, of in sides)
        values |= PRESETS.get(self.preset or "", {})
        chosen = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "preset"}
        values |= {name: value for name, value in chosen.items() if value is not None}
        values["input_size"] = input_size
        if self.resize_mode == "letterbox":
            if values.get("pad_color") is None:
                raise UsageError("--resize-mode letterbox needs --pad-color, e.g. 0 (black) or 114 (YOLO's grey)")
            values["resize_size"] = self.resize_size or input_size  # the whole image is kept; nothing is cropped
        elif self.resize_mode is not None and self.pad_color is None:
            values["pad_color"] = None  # drop a declared one: it belongs to letterboxing
        numbers = (values.get("mean", (0.0,)), values.get("std", (1.0,)))
        if (self.mean or self.std) and (problem := for_bytes(*numbers)):
            raise UsageError(f"{where}: {problem}")
        return PreprocessSpec(**values)


def check_grey(spec: PreprocessSpec, where: str) -> None:
    """Raise UsageError if a single-channel network is given preprocessing that differs between channels."""
    if len(set(spec.mean)) > 1 or len(set(spec.std)) > 1 or spec.channel_order != "rgb":
        raise UsageError(
            f"{where}: takes gray images; use --preprocess inception, unit or raw, or give --mean and --std one number "
            "each"
        )


def check_scaling(scaling: Scaling, spec: PreprocessSpec, choice: PreprocessChoice, where: str) -> str:
    """Check that the preprocessing fits the scaling done by the graph's first operators.

    Args:
        scaling: scaling done by the graph's first operators.
        spec: the preprocessing.
        choice: the user's preprocessing options.
        where: name of the model in messages.

    Returns:
        A warning if the two do not fit together; otherwise "".

    Raises:
        UsageError: the chosen preset does not fit but another one does.
    """
    chosen_numbers = (choice.mean, choice.std)
    if (choice.preset is None and chosen_numbers == (None, None)) or _is_usual(scaling, spec):
        return ""
    fitting = [name for name in PRESETS if _is_usual(scaling, dataclasses.replace(spec, **PRESETS[name]))]
    first = " and ".join(scaling.nodes[:2])
    problem = f"{where}: the graph scales its input by itself ({first}), which conflicts with this preprocessing"
    if fitting and chosen_numbers == (None, None):
        raise UsageError(f"{problem}; --preprocess {fitting[0]} fits (to override, give --mean and --std)")
    return f"{problem}; {f'--preprocess {fitting[0]} fits' if fitting else 'no preset fits'}"


def _is_usual(scaling: Scaling, spec: PreprocessSpec) -> bool:
    """Return whether pixels end up in a range that networks are usually trained with.

    Together, the two scalings map 0..1 to some range. The usual ranges have a width of 1 (0..1) to 5 (a std of 0.2),
    or of 255, with zero at the lower end or near the middle.
    """
    width: NDArray[np.float64] = scaling.slope / spec.std
    low = scaling.shift - width * spec.mean
    if not width.all():
        return False
    mean = np.where(width > 0, -low / width, 1 + low / width)
    wide = np.abs(width)
    usual = ((wide > 0.9) & (wide < 7)) | ((wide > 120) & (wide < 260))
    return bool((usual & (mean > -0.05) & (mean < 0.7)).all())
