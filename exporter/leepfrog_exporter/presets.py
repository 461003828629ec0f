"""Preprocessing for files that do not say theirs: the conventions in use, by name, and a user's own numbers on top."""

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
    """Whether pixels reach the graph as whole numbers 0..255."""
    return (tuple(spec.mean), tuple(spec.std)) == (PRESETS["raw"]["mean"], PRESETS["raw"]["std"])


# The part of the resized image that the crop keeps, along each side: 224 of 256.
CROP_FRACTION = 0.875


@dataclasses.dataclass(frozen=True)
class PreprocessChoice:
    """What a user said about preprocessing; None where nothing was said.

    Attributes:
        preset: a key of PRESETS.
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
        """The full specification for a model of `input_size`.

        Args:
            input_size: (height, width) of the graph.
            stated: what the file or library says, which the user's words override.
            where: what messages call the model.

        Raises:
            UsageError: nothing says how pixels are scaled, or the colour of letterbox margins; guessing would give
                wrong numbers silently.
            ModelError: a value is impossible.
        """
        if self.preset is not None:
            check_name("preset", self.preset, PRESETS)
        if stated is None and self.preset is None and (self.mean is None or self.std is None):
            raise UsageError(
                f"{where} does not say how its images must be prepared; add --preprocess imagenet (torchvision, timm), "
                "inception (TensorFlow, Keras), unit (0..1), raw (0..255) or caffe, or --mean and --std"
            )
        resize = tuple(round(side / CROP_FRACTION) for side in input_size)
        values: dict[str, Any] = {"input_size": input_size, "resize_size": resize}
        if stated is not None:
            values |= {field.name: getattr(stated, field.name) for field in dataclasses.fields(stated)}
        values |= PRESETS.get(self.preset or "", {})
        chosen = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "preset"}
        values |= {name: value for name, value in chosen.items() if value is not None}
        values["input_size"] = input_size
        if self.resize_mode == "letterbox":
            if values.get("pad_color") is None:
                raise UsageError("--resize-mode letterbox needs --pad-color, such as 0 (black) or 114 (YOLO's grey)")
            values["resize_size"] = self.resize_size or input_size  # the whole image is seen, nothing is cut off
        elif self.resize_mode is not None and self.pad_color is None:
            values["pad_color"] = None  # of what is stated
        numbers = (values.get("mean", (0.0,)), values.get("std", (1.0,)))
        if (self.mean or self.std) and (problem := for_bytes(*numbers)):
            raise UsageError(f"{where}: {problem}")
        return PreprocessSpec(**values)


def check_grey(spec: PreprocessSpec, where: str) -> None:
    """UsageError where a network of one channel is given preprocessing that differs between the three."""
    if len(set(spec.mean)) > 1 or len(set(spec.std)) > 1 or spec.channel_order != "rgb":
        raise UsageError(
            f"{where}: takes grey images; --preprocess inception, unit or raw, or --mean and --std with one number each"
        )


def check_scaling(scaling: Scaling, spec: PreprocessSpec, choice: PreprocessChoice, where: str) -> str:
    """Compare preprocessing with the scaling that the graph itself begins with.

    Args:
        scaling: what the graph's first operators do.
        spec: the preprocessing.
        choice: what the user said of it.
        where: what messages call the model.

    Returns:
        A warning where they do not go together; "" if there is nothing to say.

    Raises:
        UsageError: a preset does not fit and another does.
    """
    chosen_numbers = (choice.mean, choice.std)
    if (choice.preset is None and chosen_numbers == (None, None)) or _is_usual(scaling, spec):
        return ""
    fitting = [name for name in PRESETS if _is_usual(scaling, dataclasses.replace(spec, **PRESETS[name]))]
    first = " and ".join(scaling.nodes[:2])
    problem = f"{where}: the graph scales its input by itself ({first}), which does not go with this preprocessing"
    if fitting and chosen_numbers == (None, None):
        raise UsageError(f"{problem}; --preprocess {fitting[0]} fits (--mean and --std override)")
    return f"{problem}; {f'--preprocess {fitting[0]} fits' if fitting else 'no preset fits'}"


def _is_usual(scaling: Scaling, spec: PreprocessSpec) -> bool:
    """Whether pixels end up in one of the ranges that networks are trained with.

    Together, the two scalings map 0..1 to a range. Networks want one that is 1 (0..1) to 5 wide (a std of 0.2), or
    255, and whose zero lies at its start or about its middle.
    """
    width: NDArray[np.float64] = scaling.slope / spec.std
    low = scaling.shift - width * spec.mean
    if not width.all():
        return False
    mean = np.where(width > 0, -low / width, 1 + low / width)
    wide = np.abs(width)
    usual = ((wide > 0.9) & (wide < 7)) | ((wide > 120) & (wide < 260))
    return bool((usual & (mean > -0.05) & (mean < 0.7)).all())
