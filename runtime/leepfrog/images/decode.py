"""Decoding of image files into upright RGB images, with the usual pitfalls handled explicitly.

1. Only formats that Pillow decodes by itself are opened, and HEIF if pillow-heif is installed; no format that starts
   another program.
2. Images above Pillow's first decompression-bomb limit, where Pillow itself only warns, are refused. So are images that
   require unbounded work (see `leepfrog.images.bounds`).
3. EXIF orientation is applied; unreadable EXIF data are ignored.
4. Transparency is composited onto white; dropping the alpha channel would reveal arbitrary hidden colors.
5. Greys of more than 8 bits are scaled by a white level, which is determined from the image set (see
   `leepfrog.images.greys`) if the file does not state it; plain conversion would clip everything above 255. For a
   single image, the white level is 65535, or 255 for 32-bit integers that do not exceed it. TIFF files declared as
   "0 is white" are inverted. Of 16-bit colours, Pillow returns the upper 8 bits.
6. Float greys are interpreted as 0..1 or 0..255 by the same rule; for a single image, by whether it exceeds 1.
7. The first frame of an animation is used.
8. A JPEG file much larger than needed is decoded at a half, a quarter or an eighth of its size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from leepfrog.errors import ImageError, one_line
from leepfrog.images import heif
from leepfrog.images.bounds import TIFF_HEADERS, BoundedBytes, check_content, check_exif, check_opened

# Multi-picture files of phones (MPO) are opened as JPEG; their first picture is used.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")

# Part of every cache key; increment it when the decoded pixels of the same bytes change.
PIPELINE_VERSION = 4

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags; photometric 0 is "0 is white"


def decoder_versions() -> list[str]:
    """Return the versions of the image-decoding libraries, which are part of every cache key."""
    return [version for version in (PIL.__version__, heif.version()) if version]


Reduction = Callable[[int, int], int]

# EXIF orientations that swap width and height.
SIDEWAYS = (5, 6, 7, 8)


Container = Literal["16 bits", "32 bits", "floats", "16-bit colours"]


class Greys(NamedTuple):
    """Value range of an image with more than 8 bits whose file does not state it.

    Attributes:
        container: storage type of the values.
        highest: largest value; for colors, of the upper 8 bits, which are all that Pillow returns.
    """

    container: Container
    highest: float


class Decoded(NamedTuple):
    """An upright RGB image, possibly decoded at a reduced size.

    Attributes:
        image: the decoded pixels.
        size: (width, height) of the full image.
        times: reduction factor; the last column and row may cover fewer pixels of the full image than the others.
    """

    image: Image.Image
    size: tuple[int, int]
    times: int

    @classmethod
    def whole(cls, image: Image.Image) -> Decoded:
        """Wrap an image that was decoded at full size."""
        return cls(image, image.size, 1)


def deep_greys(content: bytes) -> Greys | None:
    """Return the range of a 16-bit PNG, TIFF or float PNM image, formats that do not state their white level.

    Return None for all other images and for those that `decode` will refuse. PGM and JPEG 2000 files state their white
    level, and Pillow scales by it.
    """
    is_deep_png = content[12:16] == b"IHDR" and content[24:25] == b"\x10"
    if not is_deep_png and content[:4] not in TIFF_HEADERS and content[:2] != b"Pf":
        return None
    try:
        check_content(content)
        with _opened(content) as image:
            if image.mode.startswith(("I", "F")):
                image.load()
                return _range_of_greys(np.asarray(image))
            deep = is_deep_png or (isinstance(image, TiffImageFile) and 16 in _bits(image))
            if not deep or image.mode not in ("RGB", "RGBA", "LA"):
                return None
            image.load()
            return Greys("16-bit colours", int(np.asarray(image.convert("RGB")).max()))  # without alpha
    except Exception:  # `decode_reduced` will fail as well and give the reason
        return None


def _bits(image: TiffImageFile) -> tuple[int, ...]:
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, ())
    return bits if isinstance(bits, tuple) else (bits,)


def _range_of_greys(values: np.ndarray) -> Greys | None:
    if values.dtype.kind == "f":
        _check_floats(values)
        return Greys("floats", float(values.max()))
    _check_integers(values)
    return Greys("32 bits" if values.itemsize > 2 else "16 bits", int(values.max()))


def decode(content: bytes) -> Image.Image:
    """Decode the bytes of an image file to an upright RGB image.

    Raises:
        ImageError: the bytes are not a supported image, are broken, or exceed a limit; the message is the reason alone.
    """
    return decode_reduced(content, [_whole])[0].image


def decode_reduced(content: bytes, reductions: Sequence[Reduction], white: float | None = None) -> list[Decoded]:
    """Decode an image file to upright RGB images, one for each requested size.

    JPEG files store blocks of 8 x 8 pixels as cosine coefficients, from which an image reduced by 2, 4 or 8 can be
    decoded with less work than the full image.

    Args:
        content: bytes of the file.
        reductions: functions that map the width and height of the full image to the reduction factor allowed.
        white: white level of greys of more than 8 bits if the file does not state it; None for the default.

    Returns:
        One image for each of `reductions`; they may be the same object. Only JPEG files are reduced.

    Raises:
        ImageError: see `decode`.
    """
    if not content:
        raise ImageError("empty file (0 bytes)")
    if content.startswith(b"version https://git-lfs"):
        raise ImageError("a Git LFS pointer, not the image (run git lfs pull)")
    try:
        return _decoded(content, reductions, white)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image in a supported format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"too many pixels, above the limit of {Image.MAX_IMAGE_PIXELS:,}") from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:
        # Pillow's plugins raise almost any exception on broken files (SyntaxError, struct.error, IndexError).
        reason = one_line(error)
        raise ImageError(f"broken image: {reason}") from None


def _decoded(content: bytes, reductions: Sequence[Reduction], white: float | None) -> list[Decoded]:
    check_content(content)
    with _opened(content) as image:
        if image.format not in ("JPEG", "MPO"):
            image.load()
            if image.format in ("PPM", "JPEG2000") and image.mode.startswith("I"):
                white = 65535  # Pillow has already scaled it
            zero_is_white = isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
            return [Decoded.whole(_to_rgb(_upright(image), white, zero_is_white))] * len(reductions)
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
    if heif.is_heif(content):
        image = heif.open_heif(content)
    else:
        stream = BoundedBytes(content)
        image = Image.open(stream, formats=_formats())
        stream.allow_decoding()
    try:
        check_opened(image, len(content))
    except BaseException:
        image.close()
        raise
    return image


def _possible(times: int, image: Image.Image, turned: int) -> int:
    """Limit a reduction so that rotation cannot turn an incomplete last column or row into the first."""
    while turned != 1 and (image.width % times or image.height % times):
        times //= 2
    return times


def _whole(width: int, height: int) -> int:
    return 1


def _orientation(image: Image.Image) -> int:
    check_exif(image)
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block, ignored by `_upright` as well
        return 1


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()  # Image.open(formats=...) fails if a plugin is not loaded, and some builds lack AVIF
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    check_exif(image)  # again, since PNG files may store EXIF data after the pixels
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block; the pixels are already loaded
        return image.copy()


def _to_rgb(image: Image.Image, white: float | None = None, zero_is_white: bool = False) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image), white, zero_is_white)
    if image.mode == "F":
        return _from_float(np.asarray(image), white, zero_is_white)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white_sheet = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white_sheet, layered).convert("RGB")
    return image.convert("RGB")


def _check_integers(values: np.ndarray) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"integer image with values from {low} to {high}; only 0..65535 is supported")


def _check_floats(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ImageError("float image with NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise ImageError(f"float image with values from {low:g} to {high:g}; only 0..1 or 0..255 is supported")


def _from_integers(values: np.ndarray, white: float | None, zero_is_white: bool) -> Image.Image:
    _check_integers(values)
    high = int(values.max())
    if white is None:
        white = 255 if values.itemsize > 2 and high <= 255 else 65535
    levels = np.rint(np.arange(high + 1) * (255 / white)).clip(0, 255).astype(np.uint8)
    return _from_grey(levels[values], zero_is_white)


def _from_float(values: np.ndarray, white: float | None, zero_is_white: bool) -> Image.Image:
    _check_floats(values)
    if white is None:
        white = 1 if values.max() <= 1 else 255
    return _from_grey(np.rint(values * (255.0 / white)).clip(0, 255).astype(np.uint8), zero_is_white)


def _from_grey(levels: np.ndarray, zero_is_white: bool) -> Image.Image:
    return Image.fromarray(255 - levels if zero_is_white else levels, mode="L").convert("RGB")
