"""White level of gray images with more than 8 bits, determined over the whole image set (fault 40)."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from leepfrog.images.dataset import FileImage, ImageSet
from leepfrog.images.decode import decode
from leepfrog.images.find import find_images
from leepfrog.images.greys import LeveledSet, level_some
from leepfrog.ranking.rank import ranked_outputs
from leepfrog.report.page import report_html
from photos import loaded
from PIL import Image

RAMP = np.arange(4096).reshape(64, 64)


def levelled(folder: Path, files: Mapping[str, np.ndarray | bytes]) -> LeveledSet:
    """Write the files and return their image set with its white levels."""
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            Image.fromarray(content).save(folder / name)
    images = [FileImage(str(folder / name)) for name in files]
    return level_some(ImageSet("set", ("a",), images, np.zeros(len(images), int)), range(len(images)))


def whites(found: LeveledSet) -> list[float | None]:
    return [image.white for image in found.images.images if isinstance(image, FileImage)]


def deep_png(color_type: int, pixels: np.ndarray) -> bytes:
    """Encode pixels [H, W, C] as a PNG with 16 bits per channel."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def deep_tiff(pixels: np.ndarray) -> bytes:
    """Encode pixels [H, W, 3] as a TIFF with 16 bits per channel."""
    height, width, _ = pixels.shape
    data = pixels.astype("<u2").tobytes()
    after = 8 + 2 + 10 * 12 + 4
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, after), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, after + 6), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, 10) + entries + bytes(4) + struct.pack("<3H", 16, 16, 16) + data


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (np.uint16(RAMP), np.full((8, 8), 70_000, np.int32)),
        (np.int32(RAMP), np.full((8, 8), 70_000, np.int32)),
        (np.int32(RAMP), np.full((8, 8), -1, np.int32)),
        (np.float32(RAMP / 4096), np.full((8, 8), 1000, np.float32)),
        (np.float32(RAMP / 4096), np.full((8, 8), np.inf, np.float32)),
        (np.float32(RAMP / 4096), np.full((8, 8), np.nan, np.float32)),
    ],
    ids=["int32 among 16 bits", "int32", "negative", "float", "infinity", "nan"],
)
def test_fault_40_an_image_that_is_refused_decides_no_white(good: np.ndarray, bad: np.ndarray, tmp_path: Path) -> None:
    alone = levelled(tmp_path, {f"{i}.tif": good for i in range(3)})
    image_set = levelled(tmp_path, {**{f"{i}.tif": good for i in range(3)}, "bad.tif": bad})
    assert whites(image_set) == [*whites(alone), None]
    assert image_set.notes == alone.notes


def test_fault_40_each_container_has_its_own_white(tmp_path: Path) -> None:
    """int32 files with values 0..255 are not affected by 16-bit images that use their full range."""
    small, large = np.int32(RAMP // 16), np.uint16(RAMP * 16)
    image_set = levelled(tmp_path, {"a.tif": small, "b.tif": small, "c.png": large, "d.tif": np.float32(RAMP // 16)})
    assert whites(image_set) == [255, 255, 65535, 255]
    assert loaded(image_set.images.images[0])[1].getpixel((63, 63)) == (255, 255, 255)
    (note,) = image_set.notes
    assert "2 image(s) store gray values as 32 bits; 255 was taken as white for all of them" in note


def test_fault_40_a_few_images_of_fewer_bits_are_noted(tmp_path: Path) -> None:
    """A minority of such images is noted too."""
    large = {f"{i}.png": np.uint16(RAMP * 16) for i in range(5)}
    assert levelled(tmp_path, large).notes == ()
    (note,) = levelled(tmp_path, {**large, "small.png": np.uint16(RAMP)}).notes
    assert "1 of 6 image(s) with gray values stored as 16 bits use less than a quarter of the range 0..65535" in note
    assert f"{tmp_path}/0.png reaches 65520" in note


COLOURS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "rgb": ("png", lambda grey: deep_png(2, np.stack([grey] * 3, -1))),
    "grey and alpha": ("png", lambda grey: deep_png(4, np.stack([grey, np.full_like(grey, 65535)], -1))),
    "rgb and alpha": ("png", lambda grey: deep_png(6, np.stack([grey] * 3 + [np.full_like(grey, 65535)], -1))),
    "tiff": ("tif", lambda grey: deep_tiff(np.stack([grey] * 3, -1))),
}


@pytest.mark.parametrize("kind", COLOURS)
def test_fault_40_colours_of_12_bits_in_16_are_noted(kind: str, tmp_path: Path) -> None:
    ending, make = COLOURS[kind]
    dark, bright = make(RAMP), make(RAMP * 16)
    assert decode(dark).getextrema() == ((0, 15),) * 3
    image_set = levelled(tmp_path, {f"0.{ending}": dark, f"1.{ending}": dark, f"2.{ending}": bright})
    assert whites(image_set) == [None] * 3
    (note,) = image_set.notes
    assert "2 of 3 image(s) with 16-bit colours use less than a quarter of their range" in note
    assert levelled(tmp_path, {f"0.{ending}": dark, f"1.{ending}": bright}).notes == ()


@pytest.mark.parametrize("plain", [False, True])
def test_fault_40_a_dark_pgm_stays_dark(plain: bool) -> None:
    """The file header declares 65535 as white."""
    ramp = np.arange(200).reshape(10, 20)
    data = b" ".join(b"%d" % value for value in ramp.ravel()) if plain else ramp.astype(">u2").tobytes()
    content = (b"P2" if plain else b"P5") + b" 20 10 65535\n" + data
    assert decode(content).getextrema() == ((0, 1),) * 3


def test_fault_40_a_dark_jpeg_2000_stays_dark_and_a_pfm_is_a_float() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.uint16(np.arange(200).reshape(10, 20))).save(stream, "JPEG2000")
    assert decode(stream.getvalue()).getextrema() == ((0, 1),) * 3
    stream = io.BytesIO()
    Image.fromarray(np.linspace(0, 1, 200, dtype=np.float32).reshape(10, 20)).save(stream, "PPM")
    assert stream.getvalue().startswith(b"Pf")
    assert decode(stream.getvalue()).getextrema() == ((0, 255),) * 3


def test_fault_40_thumbnails_are_as_bright_as_what_models_saw(with_made: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(np.full((32, 32), 4095 - i, np.uint16)).save(tmp_path / name / f"{name}{i}.png")
    images, model = find_images(tmp_path), with_made / "models" / "made.onnx"
    page = report_html(*ranked_outputs(leepfrog.RankRequest(), images, [model], leepfrog.RunContext()))
    uris = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert uris
    for uri in uris:
        levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
        assert levels.min() > 250  # would be 16 if 65535 were white
