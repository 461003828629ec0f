"""Preprocessing options of `leepfrog export`."""

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
    "preprocess": _option(
        "--preprocess",
        f"Preset for onnx: sources: {either(PRESETS)} (see docs/howto).",
        complete_preset,
    ),
    "input_size": _option("--input-size", "One number or height,width, such as 224 or 224,320."),
    "resize_size": _option("--resize-size", "Image size before the center crop."),
    "resize_mode": _option(
        "--resize-mode",
        "cover (keep the aspect ratio, crop), letterbox (keep it, pad) or stretch.",
        complete_resize_mode,
    ),
    "pad_color": _option("--pad-color", "With letterbox: red,green,blue from 0 to 255, or one number for all."),
    "interpolation": _option(
        "--interpolation", f"Resampling filter: {either(INTERPOLATIONS)}.", complete_interpolation
    ),
    "mean": _option("--mean", "Mean of each channel, with pixels from 0 to 1: 0.5,0.5,0.5"),
    "std": _option("--std", "Standard deviation of each channel, as for --mean."),
    "channel_order": _option(
        "--channel-order", f"Order of the color channels: {either(CHANNEL_ORDERS)}.", complete_channel_order
    ),
}


class PreprocessOptions:
    """Preprocessing options given to `leepfrog export`."""

    def __init__(self, **given: str | None) -> None:
        """Parse the numeric options.

        Raises:
            UsageError: a value is invalid.
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
        """Return the options as the exporter's type; the exporter must be installed."""
        from leepfrog_exporter.presets import PreprocessChoice

        return PreprocessChoice(**self._choices)


def preprocess_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options to a command, and pass them to its parameter `preprocess`."""
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
