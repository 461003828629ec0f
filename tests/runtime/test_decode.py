"""Decoding: every file gives correct, upright RGB pixels or an ImageError with the reason."""

from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import PIL
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import ImageError
from leepfrog.images.decode import FORMATS, decode
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

PHOTO = Image.fromarray(skimage.data.astronaut()).resize((48, 32))
ORIENTATION = 0x0112

# For each EXIF orientation, the NumPy operation that turns stored pixels [H, W, 3] upright, as viewers do.
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def pixels(content: bytes) -> list[list[list[int]]]:
    image = decode(content)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def grey(levels: ArrayLike) -> list[list[list[int]]]:
    return np.repeat(np.asarray(levels)[..., None], 3, axis=-1).tolist()


def tiff(values: NDArray[np.generic], sample_format: int) -> bytes:
    """Encode a minimal grey TIFF in the byte order of `values`.

    Pillow writes neither signed 16-bit nor unsigned 32-bit images.
    """
    order = ">" if values.dtype.str.startswith(">") else "<"
    data, (height, width) = values.tobytes(), values.shape
    short, long = 3, 4
    tags = [
        (256, long, width),
        (257, long, height),
        (258, short, values.dtype.itemsize * 8),
        (259, short, 1),
        (262, short, 1),
        (273, long, 8),
        (277, short, 1),
        (278, long, height),
        (279, long, len(data)),
        (339, short, sample_format),
    ]
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack(f"{order}HHI", tag, kind, 1)
        directory += struct.pack(f"{order}I", value) if kind == long else struct.pack(f"{order}HH", value, 0)
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + directory + bytes(4)


def png_header(width: int, height: int) -> bytes:
    """Return a well-formed PNG that claims the given size but contains only a few bytes of pixel data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        (b"these are words, whatever the file is called\n" * 9, "not an image"),
        (bytes(4096), "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        # Pillow would run Ghostscript to open EPS files.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "not an image"),
        (encoded(PHOTO, "JPEG")[:400], "broken image"),
        (encoded(PHOTO, "JPEG")[:-200], "truncated"),
        (encoded(PHOTO, "PNG")[:900], "truncated"),
        (encoded(PHOTO, "PNG")[:20], "broken image"),
        (encoded(PHOTO, "GIF")[:-200], "truncated"),
        (encoded(PHOTO, "BMP")[:500], "truncated"),
        (encoded(PHOTO, "WEBP")[:200], "broken image"),
        (encoded(PHOTO, "JPEG")[:2], "not an image"),
        (png_header(0, 5), "not an image"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_is_promised_is_read(kind: str) -> None:
    difference = np.asarray(decode(encoded(PHOTO, kind))).astype(int) - np.asarray(PHOTO)
    assert np.abs(difference).mean() < 10  # JPEG differs by 9 at this size; swapped channels would differ by 31


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize("times", [1.01, 1.9, 2.1, 500.0])
def test_a_decompression_bomb_is_refused_from_the_first_limit(
    times: float, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow warns above the limit and raises above twice the limit; `decode` refuses the image in both cases.
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ImageError, match="above the limit of 10,000"):
            decode(png_header(int(100 * times), 100))


def test_an_image_at_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 48 * 32)
    assert decode(encoded(PHOTO, "PNG")).size == (48, 32)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)  # disables Pillow's limit
    assert decode(encoded(PHOTO, "PNG")).size == (48, 32)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    stored = np.asarray(PHOTO)
    content = encoded(PHOTO, kind, exif=oriented(orientation))
    upright = np.asarray(decode(content))
    np.testing.assert_array_equal(upright, UPRIGHT[orientation](stored))
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_a_jpeg(orientation: int) -> None:
    plain = np.asarray(decode(encoded(PHOTO, "JPEG")))
    turned = np.asarray(decode(encoded(PHOTO, "JPEG", exif=oriented(orientation))))
    np.testing.assert_array_equal(turned, UPRIGHT[orientation](plain))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [oriented(99).tobytes(), oriented(0).tobytes(), b"Exif\0\0garbage, and more of it"])
def test_exif_that_says_nothing_leaves_the_pixels(kind: str, exif: bytes) -> None:
    assert pixels(encoded(PHOTO, kind, exif=exif)) == pixels(encoded(PHOTO, kind))


def test_cmyk_is_converted() -> None:
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert pixels(encoded(inks, kind)) == np.full((8, 8, 3), (255, 0, 0)).tolist()


def palette() -> Image.Image:
    """Two pixels: red, green."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    return image


WHITE, RED, GREEN = [255, 255, 255], [255, 0, 0], [0, 255, 0]
HALF_GREEN = [127, 255, 127]


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (palette(), {}, [[RED, GREEN]]),
        (palette(), {"transparency": 1}, [[RED, WHITE]]),
        (palette(), {"transparency": bytes([255, 128])}, [[RED, HALF_GREEN]]),
        (palette().convert("RGB"), {"transparency": (255, 0, 0)}, [[WHITE, GREEN]]),
        (Image.new("L", (2, 1), 7), {"transparency": 7}, [[WHITE, WHITE]]),
        (Image.new("L", (2, 1), 7), {"transparency": 8}, [[[7] * 3, [7] * 3]]),
        (Image.new("1", (2, 1)), {"transparency": 0}, [[WHITE, WHITE]]),
        (Image.new("1", (2, 1), 1), {}, [[WHITE, WHITE]]),
        (Image.new("1", (2, 1), 0), {}, [[[0] * 3, [0] * 3]]),
        (Image.new("LA", (1, 1), (0, 128)), {}, [[[127] * 3]]),
        (Image.new("LA", (1, 1), (0, 0)), {}, [[WHITE]]),
        (Image.new("RGBA", (1, 1), (9, 8, 7, 255)), {}, [[[9, 8, 7]]]),
        (Image.new("RGBA", (1, 1), (9, 8, 7, 0)), {}, [[WHITE]]),
    ],
)
def test_transparency_is_composited_onto_white(
    image: Image.Image, options: dict[str, object], expected: list[list[list[int]]]
) -> None:
    assert pixels(encoded(image, "PNG", **options)) == expected


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_compositing_is_the_formula(color: tuple[int, int, int, int]) -> None:
    *channels, alpha = color
    expected = [c * alpha / 255 + 255 * (1 - alpha / 255) for c in channels]
    content = encoded(Image.new("RGBA", (1, 1), color), "PNG")
    np.testing.assert_allclose(pixels(content)[0][0], expected, atol=1)


LEVELS_16 = np.array([[0, 257], [1000, 65535]], np.uint16)
GREY_16 = grey([[0, 1], [4, 255]])  # round(level / 257)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(LEVELS_16), "PNG"),
        encoded(Image.fromarray(LEVELS_16), "TIFF"),
        encoded(Image.fromarray(LEVELS_16.astype(np.int32)), "TIFF"),
        tiff(LEVELS_16.astype("<u2"), 1),
        tiff(LEVELS_16.astype(">u2"), 1),
        tiff(LEVELS_16.astype("<u4"), 1),
        tiff(LEVELS_16.astype(">i4"), 2),
        b"P5 2 2 65535\n" + LEVELS_16.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "tiff32", "tiff-le", "tiff-be", "unsigned32", "signed32", "pgm"],
)
def test_integer_greys_are_scaled_not_saturated(content: bytes) -> None:
    assert pixels(content) == GREY_16


def test_a_16_bit_grey_is_turned_upright_too() -> None:
    content = encoded(Image.fromarray(LEVELS_16), "PNG", exif=oriented(6))
    np.testing.assert_array_equal(pixels(content), UPRIGHT[6](np.array(GREY_16)))


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([[0.0, 0.5, 1.0]], [[0, 128, 255]]),
        ([[0.0, 1.5, 255.0]], [[0, 2, 255]]),
        ([[0.0, 0.0, 0.0]], [[0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_float_greys_are_0_to_1_or_0_to_255(levels: ArrayLike, expected: ArrayLike, order: str) -> None:
    assert pixels(tiff(np.array(levels, f"{order}f4"), 3)) == grey(expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(np.array([[0, np.nan]], "<f4"), 3), "NaN or infinity"),
        (tiff(np.array([[0, np.inf]], "<f4"), 3), "NaN or infinity"),
        (tiff(np.array([[-1, 1]], "<f4"), 3), "from -1 to 1"),
        (tiff(np.array([[0, 4096]], "<f4"), 3), "from 0 to 4096"),
        (tiff(np.array([[0, 70000]], "<i4"), 2), "from 0 to 70000"),
        (tiff(np.array([[-5, 7]], "<i4"), 2), "from -5 to 7"),
        (tiff(np.array([[-1000, 7]], "<i2"), 2), "from -1000 to 7"),
        (tiff(np.array([[1, 4_000_000_000]], "<u4"), 1), "only 0..65535"),
    ],
)
def test_greys_out_of_range_are_refused_not_clipped(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(content)


@given(st.integers(0, 65535))
def test_16_bit_scaling_is_the_nearest_level(level: int) -> None:
    content = encoded(Image.fromarray(np.array([[level]], np.uint16)), "PNG")
    assert pixels(content) == grey([[round(level / 257)]])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2
    assert pixels(content) == np.full((8, 8, 3), RED).tolist()


def test_of_a_multi_picture_jpeg_the_first_picture_is_taken() -> None:
    content = encoded(PHOTO, "MPO", save_all=True, append_images=[ImageOps.invert(PHOTO)])
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    difference = np.asarray(decode(content)).astype(int) - np.asarray(PHOTO)
    assert np.abs(difference).mean() < 10


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_any_shape_is_read(size: tuple[int, int], kind: str) -> None:
    assert decode(encoded(Image.new("RGB", size, RED[0]), kind)).size == size


SEEDS = [
    encoded(PHOTO, "JPEG", exif=oriented(6)),
    encoded(PHOTO, "JPEG", progressive=True),
    encoded(PHOTO, "PNG", exif=oriented(6)),
    encoded(PHOTO.convert("P"), "PNG", transparency=3),
    encoded(Image.fromarray(LEVELS_16), "PNG"),
]


@settings(max_examples=600)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False), st.integers(0, 9), st.booleans())
def test_damaged_files_give_an_image_or_an_image_error(
    content: bytes, chance: random.Random, flips: int, cut: bool
) -> None:
    damaged = bytearray(content)
    reach = chance.choice([64, 256, len(damaged)])  # damage to the headers has the most varied effects
    for _ in range(flips):
        damaged[chance.randrange(min(reach, len(damaged)))] = chance.randrange(256)
    if cut:
        del damaged[chance.randrange(len(damaged)) :]
    for action in ("error", "always"):  # Pillow's warnings as errors and as warnings
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter(action)
            image, reason = None, ""
            try:
                image = decode(bytes(damaged))
            except ImageError as error:
                reason = str(error)
        if image is None:
            assert reason
            assert "\n" not in reason
        else:
            assert image.mode == "RGB"
            assert min(image.size) >= 1
        # Pillow warns about broken metadata; no other warnings are allowed.
        assert all(os.path.dirname(PIL.__file__) in warning.filename for warning in recorded)
