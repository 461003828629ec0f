"""Invalid and unusual images: a bad image is skipped, counted and named; with --strict it is an error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import models_made as made
import numpy as np
import pytest
import tally
from commands import Here, snapshot
from photos import folder_of_pieces, photo
from PIL import Image

pytestmark = pytest.mark.full

PHOTO = Image.fromarray(photo("cat")).resize((90, 60))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def bomb(side: int) -> bytes:
    """Return a PNG of a few bytes whose header claims `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PHOTO, kind, exif=exif)


def animated() -> bytes:
    return encoded(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(90), PHOTO.rotate(180)])


def floats(top: float) -> bytes:
    return encoded(Image.fromarray((np.asarray(PHOTO.convert("L")) / 255 * top).astype(np.float32)), "TIFF")


SEE_THROUGH = PHOTO.quantize(8)

# File name, content, and the reason why the image is skipped, or None if it is valid.
IMAGES: dict[str, tuple[str, bytes | Callable[[Path], object], str | None]] = {
    "truncated": ("x.jpg", encoded(PHOTO, "JPEG")[:-300], "truncated"),
    "truncated png": ("x.png", encoded(PHOTO, "PNG")[:2000], "truncated"),
    "text named .jpg": ("x.jpg", b"no picture, whatever it is called\n" * 9, "not an image in a supported format"),
    "empty file": ("x.jpg", b"", "empty file (0 bytes)"),
    "git lfs pointer": ("x.jpg", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "decompression bomb at the first limit": ("x.png", bomb(9500), "9500 x 9500 pixels, above the limit of 89,478,485"),
    "decompression bomb": ("x.png", bomb(60000), "above the limit of 89,478,485"),
    "float tiff out of range": ("x.tif", floats(4096), "only 0..1 or 0..255 is supported"),
    "named pipe": ("x.jpg", os.mkfifo, "not a regular file"),
    "dangling link": ("x.jpg", lambda path: path.symlink_to("gone"), "No such file"),
    "exif rotation": ("x.jpg", turned("JPEG"), None),
    "exif rotation of a png": ("x.png", turned("PNG"), None),
    "cmyk": ("x.jpg", encoded(PHOTO.convert("CMYK"), "JPEG"), None),
    "palette with transparency": ("x.png", encoded(SEE_THROUGH, "PNG", transparency=3), None),
    "palette with alpha": ("x.png", encoded(SEE_THROUGH, "PNG", transparency=bytes(range(0, 256, 32))), None),
    "16-bit grey": ("x.png", encoded(Image.fromarray(np.asarray(PHOTO.convert("L"), np.uint16) * 257), "PNG"), None),
    "float tiff 0 to 1": ("x.tif", floats(1), None),
    "float tiff 0 to 255": ("x.tif", floats(255), None),
    "animated gif": ("x.gif", animated(), None),
    "1 x 1": ("x.png", encoded(PHOTO.resize((1, 1)), "PNG"), None),
    "1 x 5000": ("x.png", encoded(PHOTO.resize((1, 5000)), "PNG"), None),
    "5000 x 1": ("x.jpg", encoded(PHOTO.resize((5000, 1)), "JPEG"), None),
}


@pytest.mark.parametrize("what", IMAGES)
def test_images(what: str, with_made: Path, here: Here) -> None:
    name, content, reason = IMAGES[what]
    folder_of_pieces(here.folder / "photos", count=2)
    path = here.folder / "photos" / "cat" / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    tally.INPUTS["images"] += 1
    before = snapshot(here.folder, with_made / "models")
    rank = ("rank", "photos", "-m", "made")
    text = here.call(*rank)
    text.check(0)
    result = here.call(*rank, "--format", "json")
    result.check(0)
    named = os.path.join("photos", "cat", name)
    if reason is None:
        assert result.json["receipt"]["data"]["skipped"] == []
        assert result.json["n_images"] == 7
        assert "skipped" not in text.err
        here.call(*rank, "--strict").check(0)
    else:
        (skipped,) = result.json["receipt"]["data"]["skipped"]
        assert skipped["name"] == named
        assert reason in skipped["reason"]
        assert result.json["n_images"] == 6
        assert f"skipped: {named}: " in text.err
        assert reason in text.err
        here.call(*rank, "--strict").check(3, named, reason, "1 bad image(s) in total")
    assert snapshot(here.folder, with_made / "models") == before


@pytest.mark.parametrize("command", ["rank", "embed", "explain", "validate"])
def test_every_command_skips_and_names_a_bad_image(command: str, with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=6)
    (here.folder / "photos" / "cat" / "x.jpg").write_bytes(b"")
    content = made.scoring(name="other").SerializeToString()
    (here.folder / "other.onnx").write_bytes(content)
    arguments = {
        "rank": ["rank", "photos", "-m", "made"],
        "embed": ["embed", "photos", "--probe", "made", "-o", "photos.npz"],
        "explain": ["explain", "photos", "-m", "made"],
        "validate": ["validate", "photos", "-m", "made,other.onnx", "-s", "leep", "--splits", "1"],
    }[command]
    done = here.call(*arguments)
    done.check(0)
    assert "x.jpg" in done.err
    assert "empty file (0 bytes)" in done.err
    here.call(*arguments, "--strict").check(3, "x.jpg", "empty file (0 bytes)")


def test_no_image_is_left(with_made: Path, here: Here) -> None:
    for name in ("cat", "dog"):
        (here.folder / "photos" / name).mkdir(parents=True)
        (here.folder / "photos" / name / "x.jpg").write_bytes(b"")
    here.call("rank", "photos", "-m", "made").check(3, "photos", "no classes with images")
    here.call("embed", "photos", "--probe", "made", "-o", "x.npz").check(3, "photos")
    assert not (here.folder / "x.npz").exists()


def test_one_class_is_left(with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=3, names=("cat", "rocket"))
    for path in (here.folder / "photos" / "rocket").iterdir():
        path.write_bytes(b"")
    here.call("rank", "photos", "-m", "made").check(3, "photos", "only one class with images ('cat')")
