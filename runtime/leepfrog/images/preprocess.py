"""Preprocessing of decoded images into model inputs, as specified by the model's metadata."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leepfrog.arguments import did_you_mean
from leepfrog.errors import ModelError
from leepfrog.images.choices import CHANNEL_ORDERS, INTERPOLATIONS, RESIZE_MODES, ChannelOrder, ResizeMode
from leepfrog.images.decode import Decoded
from leepfrog.kernels.pixels import normalize_into

Pixels = NDArray[np.uint8]

# Radius of the widest filter, Lanczos, in output pixels when shrinking and in source pixels when enlarging.
WIDEST_FILTER = 3

# Minimum ratio of the side of a reduced JPEG to the side it is then resized to.
ENOUGH_PIXELS = 2.0

# No known network takes more than 1,024 pixels. Without a limit, a malicious file could request any amount of memory.
MAX_SIDE = 4096

# MAX_STATISTIC bounds |mean| and |std| for pixels scaled to 0..1. Larger values are meant for pixels of 0..255 and
# would map every input to nearly the same constant. MAX_SCALE bounds 1 / |std|, so that no normalized pixel overflows
# float32.
MAX_STATISTIC, MAX_SCALE = 3.0, 1e9


@dataclasses.dataclass(frozen=True)
class PreprocessSpec:
    """Preprocessing of one model: resize, pad, center crop, then (pixel / 255 - mean) / std.

    Attributes:
        input_size: (height, width) of the model input, in pixels.
        resize_size: (height, width) before the center crop; at least `input_size`.
        resize_mode: "cover" keeps the aspect ratio and covers `resize_size` (if that is square, its side is the new
            length of the shorter side); "stretch" resizes to exactly `resize_size`; "letterbox" keeps the aspect ratio,
            fits the whole image into `resize_size`, centers it there and pads the rest with `pad_color`.
        interpolation: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos"; antialiased, as in Pillow.
        mean: mean of each channel, for pixels scaled to 0..1, in the model's channel order.
        std: standard deviation of each channel, like `mean`.
        channel_order: "rgb" or "bgr".
        pad_color: (red, green, blue), each 0 to 255, with "letterbox"; None otherwise.

    >>> half = (0.5, 0.5, 0.5)
    >>> spec = PreprocessSpec(input_size=(224, 224), resize_size=(256, 256), mean=half, std=half)
    >>> spec.resize_mode, spec.interpolation, spec.channel_order
    ('cover', 'bilinear', 'rgb')
    >>> PreprocessSpec.from_dict(spec.as_dict()) == spec
    True
    """

    input_size: tuple[int, int]
    resize_size: tuple[int, int]
    resize_mode: ResizeMode = "cover"
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: ChannelOrder = "rgb"
    pad_color: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Validate the values, which may come from an untrusted file."""
        sizes = (*self.input_size, *self.resize_size)
        if len(self.input_size) != 2 or len(self.resize_size) != 2:
            raise ModelError(
                f"preprocessing sizes must be (height, width), not {list(self.input_size)} and {list(self.resize_size)}"
            )
        if any(type(s) is not int or not 1 <= s <= MAX_SIDE for s in sizes):
            raise ModelError(f"preprocessing sizes must be whole numbers from 1 to {MAX_SIDE}, not {list(sizes)}")
        if any(r < i for r, i in zip(self.resize_size, self.input_size, strict=True)):
            raise ModelError(f"resize_size {list(self.resize_size)} is smaller than input_size {list(self.input_size)}")
        if self.resize_mode not in RESIZE_MODES:
            raise ModelError(
                f"resize_mode {self.resize_mode!r} is unknown; {did_you_mean(self.resize_mode, RESIZE_MODES)}"
            )
        self._check_pad_color()
        if self.interpolation not in INTERPOLATIONS:
            raise ModelError(
                f"interpolation {self.interpolation!r} is unknown; {did_you_mean(self.interpolation, INTERPOLATIONS)}"
            )
        if self.channel_order not in CHANNEL_ORDERS:
            raise ModelError(
                f"channel_order {self.channel_order!r} is unknown; {did_you_mean(self.channel_order, CHANNEL_ORDERS)}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(isinstance(v, int | float) and abs(v) <= MAX_SCALE for v in values):
                raise ModelError(f"{name} must be three numbers of at most {MAX_STATISTIC:g}, not {list(values)}")
        if any(abs(v) * MAX_SCALE < 1 for v in self.std):
            raise ModelError(f"std must not be 0 or close to 0, not {list(self.std)}")
        if problem := for_bytes(self.mean, self.std):
            raise ModelError(problem)

    def _check_pad_color(self) -> None:
        color = self.pad_color
        if (self.resize_mode == "letterbox") != (color is not None):
            raise ModelError("resize_mode letterbox requires a pad_color, such as [0, 0, 0]; other modes take none")
        if color is not None and (len(color) != 3 or any(type(v) is not int or not 0 <= v <= 255 for v in color)):
            raise ModelError(f"pad_color must be three whole numbers from 0 to 255, not {list(color)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-ready values, which `from_dict` reads back.

        The values are part of cache keys, so fields added in later versions are omitted where they are unused.
        """
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return values if self.pad_color is not None else {k: v for k, v in values.items() if k != "pad_color"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PreprocessSpec:
        """Create a specification from the values of `as_dict`.

        Raises:
            ModelError: a field is missing, unknown or invalid.
        """
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**fields)
        except (TypeError, AttributeError) as error:
            raise ModelError(f"invalid preprocessing: {error}") from error

    @property
    def geometry(self) -> tuple[object, ...]:
        """Fields that determine the resized pixels; models with equal geometry share one resize."""
        return self.input_size, self.resize_size, self.resize_mode, self.interpolation, self.pad_color

    def reduction(self, width: int, height: int) -> int:
        """Return the factor by which an image of this size may be reduced while it is decoded: 1, 2, 4 or 8.

        The reduced image is at least twice as wide and high as the resized one, so that the resize still averages over
        a finer grid than its own. On photographs, the resulting pixels differ from those of a full decode by less than
        one gray level on average, and 99 % of the values by at most 6 (tests/runtime/test_reduced.py).
        "nearest" picks single pixels instead of averaging, so it always uses the full image.
        """
        if self.interpolation == "nearest":
            return 1
        to_height, to_width = _resized_size(width, height, self)
        spare = min(width / to_width, height / to_height) / ENOUGH_PIXELS
        return next((times for times in (8, 4, 2) if times <= spare), 1)


def for_bytes(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return an error message if a mean or std is meant for pixels of 0..255, "" if both suit pixels of 0..1."""
    large_mean, large_std = (max(map(abs, values)) > MAX_STATISTIC for values in (mean, std))
    if not large_mean and not large_std:
        return ""
    mean = [value / 255 for value in mean] if large_mean else mean
    std = [value / 255 for value in std] if large_std or min(map(abs, std)) >= 1 else std
    shown = [",".join(f"{value:.4g}" for value in values) for values in (mean, std)]
    return (
        "mean and std must be for pixels scaled to 0..1, but these are for 0..255; use the values divided by 255: "
        f"--mean {shown[0]} --std {shown[1]}"
    )


def resize_and_crop(image: Image.Image, spec: PreprocessSpec) -> Pixels:
    """Return the center crop of the resized image, [H, W, 3] uint8 in RGB order; see `resize_and_crop_reduced`."""
    return resize_and_crop_reduced(Decoded.whole(image), spec)


def resize_and_crop_reduced(decoded: Decoded, spec: PreprocessSpec) -> Pixels:
    """Return the center crop of the resized image, [H, W, 3] uint8 in RGB order.

    Only the region that survives the crop is resized. Sampling positions and filter are those of a full resize followed
    by a crop, so the results differ only by intermediate rounding: occasionally by one grey level or, for the
    discontinuous filters "nearest" and "box", by picking the neighbour where a sample falls exactly between two pixels.
    On images of a few pixels, Pillow may run its two passes in the opposite order, which is visible where they
    overshoot.
    """
    image, (whole_width, whole_height), times = decoded
    if spec.resize_mode == "letterbox":
        return _letterboxed(decoded, spec)
    # The full size in pixels of the reduced image, which may be fractional.
    width, height = whole_width / times, whole_height / times
    to_height, to_width = _resized_size(whole_width, whole_height, spec)
    crop_height, crop_width = spec.input_size
    top, left = round((to_height - crop_height) / 2), round((to_width - crop_width) / 2)
    across, down = width / to_width, height / to_height
    upper, lower = top * down, min((top + crop_height) * down, height)
    if spec.resize_mode == "cover" and crop_height * whole_width < crop_width * whole_height:
        # Since version 13, Pillow runs the vertical pass first if the height shrinks much more than the width. It would
        # do so for the crop of a tall image but not for the full resize, a difference of up to 9 levels at edges.
        reach = WIDEST_FILTER * max(down, 1.0) + 1
        first, last = max(0, math.floor(upper - reach)), min(image.height, math.ceil(lower + reach))
        image = image.crop((0, first, image.width, last))
        upper, lower = upper - first, min(lower, last) - first
    box = (left * across, upper, min((left + crop_width) * across, width), lower)
    resized = image.resize((crop_width, crop_height), Image.Resampling[spec.interpolation.upper()], box=box)
    return np.asarray(resized)


def _letterboxed(decoded: Decoded, spec: PreprocessSpec) -> Pixels:
    """Resize the whole image, pad it to `resize_size` and return the center crop."""
    image, (whole_width, whole_height), times = decoded
    to_height, to_width = _resized_size(whole_width, whole_height, spec)
    box = (0, 0, whole_width / times, whole_height / times)
    resized = image.resize((to_width, to_height), Image.Resampling[spec.interpolation.upper()], box=box)
    height, width = spec.resize_size
    sheet = Image.new("RGB", (width, height), spec.pad_color or 0)
    sheet.paste(resized, (round((width - to_width) / 2), round((height - to_height) / 2)))
    top, left = round((height - spec.input_size[0]) / 2), round((width - spec.input_size[1]) / 2)
    return np.asarray(sheet.crop((left, top, left + spec.input_size[1], top + spec.input_size[0])))


def normalize(crops: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Convert crops [n, H, W, 3] uint8 to a batch [n, 3, H, W] float32: (pixel / 255 - mean) / std by table look-up."""
    levels = np.arange(256, dtype=np.float64) / 255.0
    table = np.stack([(levels - m) / s for m, s in zip(spec.mean, spec.std, strict=True)]).astype(np.float32)
    source = np.array([0, 1, 2] if spec.channel_order == "rgb" else [2, 1, 0])
    batch = np.empty((len(crops), 3, *spec.input_size), np.float32)
    normalize_into(crops, table, source, batch)
    return batch


def _resized_size(width: int, height: int, spec: PreprocessSpec) -> tuple[int, int]:
    to_height, to_width = spec.resize_size
    if spec.resize_mode == "stretch":
        return to_height, to_width
    if spec.resize_mode == "letterbox":  # like Pillow's ImageOps.pad, but at least one pixel
        if width * to_height > height * to_width:
            return max(1, round(height / width * to_width)), to_width
        return to_height, max(1, round(width / height * to_height))
    # Integer arithmetic: the other side is rounded down, as in torchvision and timm.
    if to_width * height >= to_height * width:
        return max(to_height, to_width * height // width), to_width
    return to_height, max(to_width, to_height * width // height)
