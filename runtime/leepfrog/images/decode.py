"""From a file's bytes to an upright RGB image, with what trips naive readers handled on purpose.

1. Only formats that Pillow decodes by itself are opened; none that starts another program.
2. An image above Pillow's first decompression-bomb limit is refused; Pillow itself only warns there.
3. EXIF orientation is applied; EXIF data that cannot be read says nothing and leaves the pixels as they are.
4. Transparency is composited onto white; dropping the alpha channel would show whatever colour lies hidden there.
5. 16-bit greys are scaled to 8 bits; a bare conversion would clip everything above 255 to white. Wider or signed
   integers are taken if they lie in the same range, 0..65535.
6. Float greys are taken as 0..1 or, if they exceed 1, as 0..255.
7. Of an animation, the first frame is taken.
8. A JPEG file much larger than what is needed is decoded at a half, a quarter or an eighth of its size.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from leepfrog.errors import ImageError, one_line

# Multi-picture files of phones (MPO) are opened as JPEG and give their first picture.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")

# Part of every cache key: raise it when the pixels that come out for the same bytes change.
PIPELINE_VERSION = 2

Reduction = Callable[[int, int], int]

# EXIF orientations that swap width and height.
SIDEWAYS = (5, 6, 7, 8)


class Decoded(NamedTuple):
    """An upright RGB image, maybe smaller than the whole.

    Attributes:
        image: its pixels.
        size: the whole image's width and height.
        times: how many times as small it is; its last column and row may hold less than others of the whole.
    """

    image: Image.Image
    size: tuple[int, int]
    times: int

    @classmethod
    def whole(cls, image: Image.Image) -> Decoded:
        """An image that is the whole."""
        return cls(image, image.size, 1)


def decode(content: bytes) -> Image.Image:
    """Decode an image file held in memory to mode RGB, upright.

    Raises:
        ImageError: the bytes are no supported image, broken, or too large; the message is the reason alone.
    """
    return decode_reduced(content, [_whole])[0].image


def decode_reduced(content: bytes, reductions: Sequence[Reduction]) -> list[Decoded]:
    """Decode an image file to mode RGB, upright, once for each size that is needed.

    A JPEG file holds cosine waves in blocks of 8 x 8 pixels, from which an image 2, 4 or 8 times as small is had with
    less work than the whole.

    Args:
        content: the file's bytes.
        reductions: each gives, from the whole image's width and height, how many times as small it may be decoded.

    Returns:
        An image for each of `reductions`, which may be the same object. Files other than JPEG come whole.

    Raises:
        ImageError: as of `decode`.
    """
    if not content:
        raise ImageError("empty file (0 bytes)")
    if content.startswith(b"version https://git-lfs"):
        raise ImageError("a Git LFS pointer, not the image (run git lfs pull)")
    try:
        return _decoded(content, reductions)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image that can be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"too many pixels, above the limit of {Image.MAX_IMAGE_PIXELS:,}") from None
    except Exception as error:
        # Pillow's plugins raise nearly anything on broken bytes (SyntaxError, struct.error, IndexError, MemoryError).
        reason = one_line(error)
        raise ImageError(f"broken image: {reason}") from None


def _decoded(content: bytes, reductions: Sequence[Reduction]) -> list[Decoded]:
    with _opened(content) as image:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise ImageError(f"{image.width} x {image.height} pixels, above the limit of {limit:,}")
        if image.format not in ("JPEG", "MPO"):
            image.load()
            return [Decoded.whole(_to_rgb(_upright(image)))] * len(reductions)
        turned = _orientation(image)
        size = (image.height, image.width) if turned in SIDEWAYS else (image.width, image.height)
        wanted = [_possible(reduction(*size), image, turned) for reduction in reductions]
    done = {times: Decoded(_decoded_jpeg(content, times), size, times) for times in set(wanted)}
    return [done[times] for times in wanted]


def _decoded_jpeg(content: bytes, times: int) -> Image.Image:
    with _opened(content) as image:
        if times > 1:
            image.draft(image.mode, (image.width // times, image.height // times))
        image.load()
        return _to_rgb(_upright(image))


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=_formats())


def _possible(times: int, image: Image.Image, turned: int) -> int:
    """A last column that holds less than the others must not become the first by turning."""
    while turned != 1 and (image.width % times or image.height % times):
        times //= 2
    return times


def _whole(width: int, height: int) -> int:
    return 1


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block, which `_upright` will ignore as well
        return 1


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()  # Image.open(formats=...) fails on a format whose plugin is not loaded, and some builds lack AVIF
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block; the pixels themselves are loaded by now
        return image.copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image))
    if image.mode == "F":
        return _from_float(np.asarray(image, dtype=np.float64))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _from_integers(values: np.ndarray) -> Image.Image:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"integer image with values from {low} to {high}; only 0..65535 is understood")
    return _from_grey(values / 257.0)


def _from_float(values: np.ndarray) -> Image.Image:
    if not np.isfinite(values).all():
        raise ImageError("float image with NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise ImageError(f"float image with values from {low:g} to {high:g}; only 0..1 or 0..255 are understood")
    return _from_grey(values * 255.0 if high <= 1 else values)


def _from_grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8), mode="L").convert("RGB")
