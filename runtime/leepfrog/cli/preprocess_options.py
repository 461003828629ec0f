"""The options of `export` that say how a model's images are prepared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from leepfrog_exporter.choices import PRESETS

from leepfrog.cli.completion import (
    complete_channel_order,
    complete_interpolation,
    complete_preset,
    complete_resize_mode,
)
from leepfrog.cli.option_group import option_group
from leepfrog.cli.options import either
from leepfrog.errors import UsageError
from leepfrog.images.choices import CHANNEL_ORDERS, INTERPOLATIONS

if TYPE_CHECKING:
    from leepfrog_exporter.presets import PreprocessChoice


def _option(flag: str, text: str, complete: Callable[..., Any] | None = None) -> tuple[Any, None]:
    return Annotated[str | None, typer.Option(flag, help=text, autocompletion=complete)], None


_OPTIONS = {
    "preprocess": _option("--preprocess", f"For onnx: files: {either(PRESETS)} (see the README).", complete_preset),
    "input_size": _option("--input-size", "224 or 224,320: height, width."),
    "resize_size": _option("--resize-size", "Size before the centre crop."),
    "resize_mode": _option(
        "--resize-mode", "cover (keep the aspect, cut off), letterbox (keep it, pad) or stretch.", complete_resize_mode
    ),
    "pad_color": _option("--pad-color", "With letterbox: red,green,blue of 0..255, or one number for all."),
    "interpolation": _option("--interpolation", f"{either(INTERPOLATIONS)}.", complete_interpolation),
    "mean": _option("--mean", "A number for each channel, of pixels 0..1: 0.5,0.5,0.5"),
    "std": _option("--std", "Likewise."),
    "channel_order": _option("--channel-order", f"{either(CHANNEL_ORDERS)}.", complete_channel_order),
}


class PreprocessOptions:
    """The preprocessing options that `export` was given."""

    def __init__(self, **given: str | None) -> None:
        """Refuse what is no number where one is expected.

        Raises:
            UsageError: a value cannot be read.
        """
        preset = given.pop("preprocess")
        self._choices: dict[str, Any] = given | {
            "preset": preset,
            "input_size": _size("--input-size", given["input_size"]),
            "resize_size": _size("--resize-size", given["resize_size"]),
            "mean": _channels("--mean", given["mean"]),
            "std": _channels("--std", given["std"]),
            "pad_color": _color("--pad-color", given["pad_color"]),
        }

    def choice(self) -> PreprocessChoice:
        """What the exporter takes; it must be installed."""
        from leepfrog_exporter.presets import PreprocessChoice

        return PreprocessChoice(**self._choices)


def preprocess_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, and hand what they say to its parameter `preprocess`."""
    return option_group("preprocess", _OPTIONS, PreprocessOptions)(command)


def _size(option: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = _numbers(option, text)
    if len(numbers) not in (1, 2) or not all(n.is_integer() and n >= 1 for n in numbers):
        raise _wrong(option, text, "224 or 224,320")
    return int(numbers[0]), int(numbers[-1])


def _channels(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(option, text)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise _wrong(option, text, "three numbers, such as 0.5,0.5,0.5")
    return numbers[0], numbers[1], numbers[2]


def _color(option: str, text: str | None) -> tuple[int, int, int] | None:
    channels = _channels(option, text)
    if channels is None:
        return None
    if any(not 0 <= n <= 255 or n != int(n) for n in channels):
        raise _wrong(option, text or "", "whole numbers from 0 to 255, such as 114 or 124,116,104")
    return int(channels[0]), int(channels[1]), int(channels[2])


def _numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _wrong(option, text, "numbers separated by commas")
    return numbers


def _wrong(option: str, text: str, expected: str) -> Exception:
    return UsageError(f"{option} {text!r}: expected {expected}")
