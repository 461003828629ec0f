"""Bounds on the work that a single image file can cause; oversized files are skipped and reported."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Here, process
from leepfrog.errors import ImageError
from leepfrog.files import read_regular
from leepfrog.images import bounds
from leepfrog.images.decode import decode
from photos import folder_of_pieces, photo
from PIL import Image

PHOTO = Image.fromarray(photo("cat")).resize((256, 192))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scans(n: int, progressive: bool = True) -> bytes:
    """Return a JPEG whose last scan is repeated n times."""
    content = encoded(PHOTO, "JPEG", progressive=True)
    if not progressive:  # sequential, one component per scan, as `jpegtran -scans` writes them
        content = encoded(PHOTO, "JPEG").replace(b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00",
                                                  b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00")  # fmt: skip
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * n + b"\xff\xd9"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with the given chunks before its pixels."""
    whole = encoded(PHOTO, "PNG")
    end_of_header = 8 + 25
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return whole[:end_of_header] + made + whole[end_of_header:]


def exif_segments(n: int) -> bytes:
    content = encoded(PHOTO, "JPEG")
    segment = b"\xff\xe1\xff\xffExif\0\0" + bytes(65535 - 8)
    return content[:2] + segment * n + content[2:]


def gif_comment(n: int) -> bytes:
    content = encoded(PHOTO.quantize(16), "GIF")
    at = content.index(b"\x2c")
    return content[:at] + b"\x21\xfe" + (b"\xff" + bytes(255)) * n + b"\0" + content[at:]


def tiff(tags: dict[int, list[int]], data: bytes) -> bytes:
    """Return a TIFF with tags of 32-bit integers and `data` at offset 8."""
    directory, extra = struct.pack("<H", len(tags)), b""
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            extra, packed = extra + packed, struct.pack("<I", after + len(extra))
        directory += struct.pack("<HHI", tag, 4, len(values)) + packed
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4) + extra


def overlapping_strips() -> bytes:
    """Return a TIFF whose rows are strips that all claim the same 4 MB of compressed data."""
    data = zlib.compress(bytes(64)) + bytes(4 << 20)
    rows = 2000
    return tiff(
        {256: [64], 257: [rows], 258: [8], 259: [8], 262: [1], 277: [1], 278: [1], 273: [8] * rows,
         279: [len(data)] * rows}, data,
    )  # fmt: skip


def many_strips() -> bytes:
    """Return a TIFF of two million one-pixel rows that share one byte."""
    n = 1 << 21
    return tiff(
        {256: [1], 257: [n], 258: [8], 259: [1], 262: [1], 277: [1], 278: [1], 273: [8] * n, 279: [1] * n}, b"\0"
    )


def wide_tiles() -> bytes:
    """Return a TIFF with one pixel per row, stored in tiles 65,536 pixels wide."""
    data = zlib.compress(bytes(65536 * 16))
    n = 1000
    return tiff(
        {256: [1], 257: [16 * n], 258: [8], 259: [8], 262: [1], 277: [1], 322: [65536], 323: [16], 324: [8] * n,
         325: [len(data)] * n}, data,
    )  # fmt: skip


def jpeg_2000(precinct: int, layers: int = 1) -> bytes:
    """Return a tiny file claiming 9000 x 9000 pixels; `precinct` is 16 * log2(height) + log2(width)."""
    content = bytearray(encoded(PHOTO, "JPEG2000", no_jp2=True, precinct_size=(256, 256), num_resolutions=1))
    at = content.index(b"\xff\x52")
    content[at + 1 + int.from_bytes(content[at + 2 : at + 4], "big")] = precinct
    content[at + 6 : at + 8] = struct.pack(">H", layers)
    content[8:16] = content[24:32] = struct.pack(">II", 9000, 9000)
    return bytes(content)


def jpeg_in_tiff() -> bytes:
    """Return a TIFF whose only strip is a progressive JPEG with many scans."""
    data = scans(5000)
    return tiff(
        {256: [256], 257: [192], 258: [8, 8, 8], 259: [7], 262: [6], 277: [3], 278: [192], 273: [8], 279: [len(data)]},
        data,
    )


def shared_tags(n_tags: int, n_bytes: int, pointer: tuple[int, int] | None = None) -> bytes:
    """Return EXIF data whose tags all share the same bytes; with a pointer (tag and type), in a nested directory."""
    order = ">" if pointer and pointer[1] == 3 else "<"
    start = b"MM\0*" if order == ">" else b"II*\0"
    first, at = b"", 8
    if pointer:
        tag, kind = pointer
        at += 18
        place = struct.pack(">HH", at, 0) if kind == 3 else struct.pack("<I", at)
        first = struct.pack(order + "HHHI", 1, tag, kind, 1) + place + bytes(4)
    entries = b"".join(
        struct.pack(order + "HHII", 0xC000 + i, 7, n_bytes, at + 2 + 12 * n_tags + 4) for i in range(n_tags)
    )
    header = start + struct.pack(order + "I", 8) + first
    return header + struct.pack(order + "H", n_tags) + entries + bytes(4) + bytes(n_bytes)


def jpeg_segments(marker: bytes, prefix: bytes, data: bytes) -> bytes:
    """Return a JPEG with the data split into segments."""
    whole, step = encoded(PHOTO, "JPEG"), 65_000
    parts = [prefix + data[i : i + step] for i in range(0, len(data), step)]
    return whole[:2] + b"".join(marker + struct.pack(">H", len(p) + 2) + p for p in parts) + whole[2:]


def webp_exif(data: bytes) -> bytes:
    return encoded(PHOTO, "WEBP", exif=data)


def png_exif_last(data: bytes) -> bytes:
    """Return a PNG with EXIF data after the pixels, where Pillow reads it only during decoding."""
    whole = encoded(PHOTO, "PNG")
    made = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    return whole[:-12] + made + whole[-12:]


def png_profile(data: bytes) -> bytes:
    """Return a PNG with EXIF data as written by ImageMagick."""
    return png(
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(data) + data.hex().encode()))
    )


def avif_exif(data: bytes) -> bytes:
    whole = encoded(PHOTO, "AVIF", speed=10)
    size = struct.pack(">I", len(data) + 8)
    return whole + size + b"free" + data  # the position does not matter


def tiff_of_shared_tags() -> bytes:
    whole = encoded(PHOTO, "TIFF")
    (at,) = struct.unpack_from("<I", whole, 4)
    (n,) = struct.unpack_from("<H", whole, at)
    entries = b"".join(struct.pack("<HHII", 0xC000 + i, 7, len(whole), 0) for i in range(1000))
    directory = struct.pack("<H", n + 1000) + whole[at + 2 : at + 2 + 12 * n] + entries + bytes(4)
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + directory


SHARED = "too many tags share the same bytes"
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "progressive scans": ("x.jpg", lambda: scans(20_000), "more than 100 scans"),
    "sequential scans": ("x.jpg", lambda: scans(20_000, progressive=False), "more than 100 scans"),
    "scans after a comment": ("x.jpg", lambda: scans(101).replace(b"\xff\xdb", b"\xff\xfe\0\4\xff\xd9\xff\xdb", 1),
                              "more than 100 scans"),
    "scans hidden behind a marker without length": (
        "x.jpg", lambda: scans(101).replace(b"\xff\xdb", b"\xff\xd9\xff\xff\xdb", 1), "more than 100 scans"),
    "exif in many segments": ("x.jpg", lambda: exif_segments(300), "EXIF data above the limit"),
    "comments": ("x.jpg", lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 500_000 + encoded(PHOTO, "JPEG")[2:], "small parts"),
    "bytes between segments": ("x.jpg", lambda: b"\xff\xd8\xff\xe0\0\2" + bytes(3 << 20), "small parts"),
    "png of many chunks": ("x.png", lambda: png(*[(b"teSt", b"")] * 100_000), "small parts"),
    "png text that inflates": (
        "x.png", lambda: png(*[(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20)))] * 100), "(?i)too (large|much)"),
    "gif comment": ("x.gif", lambda: gif_comment(50_000), "small parts"),
    "plain pnm of comments": ("x.pgm", lambda: b"P2 9 9 255\n" + b"#\n" * 500_000 + b"1 " * 81, "comments"),
    "plain pnm of many numbers": ("x.ppm", lambda: b"P3 5000 5000 255\n" + b"0 " * 9_000_000, "plain-text PNM"),
    "tiff strips that overlap": ("x.tif", overlapping_strips, "strips or tiles of"),
    "tiff tiles wider than the image": ("x.tif", wide_tiles, "tiles of"),
    "tiff of many strips": ("x.tif", many_strips, "2,097,152 strips or tiles, above the limit"),
    "tiff tags that share bytes": ("x.tif", tiff_of_shared_tags, SHARED),
    "exif tags that share bytes": (
        "x.jpg", lambda: jpeg_segments(b"\xff\xe1", b"Exif\0\0", shared_tags(1000, 900_000)), SHARED),
    "exif tags after a segment that is passed over": (
        "x.jpg",
        lambda: (
            b"\xff\xd8\xff\xe1\0\x0cExif\0xMM\0*"
            + jpeg_segments(b"\xff\xe1", b"Exif\0\0", shared_tags(1000, 900_000))[2:]
        ),
        SHARED,
    ),
    "exif tags in a directory inside": (
        "x.jpg", lambda: jpeg_segments(b"\xff\xe1", b"Exif\0\0", shared_tags(1000, 900_000, (0x8769, 4))), SHARED),
    "exif tags behind a short pointer": (
        "x.jpg", lambda: jpeg_segments(b"\xff\xe1", b"Exif\0\0", shared_tags(1000, 900_000, (0x8825, 3))), SHARED),
    "multi-picture tags": (
        "x.jpg", lambda: jpeg_segments(b"\xff\xe2", b"MPF\0", shared_tags(2000, 40_000)), SHARED),
    "exif of a png": ("x.png", lambda: png((b"eXIf", shared_tags(1000, 900_000))), SHARED),
    "exif after the pixels of a png": ("x.png", lambda: png_exif_last(shared_tags(1000, 900_000)), SHARED),
    "exif of ImageMagick's png": ("x.png", lambda: png_profile(shared_tags(1000, 400_000)), SHARED),
    "exif of a webp": ("x.webp", lambda: webp_exif(shared_tags(1000, 900_000)), SHARED),
    "exif of an avif": ("x.avif", lambda: avif_exif(shared_tags(1000, 900_000)), SHARED),
    "large exif of a webp": ("x.webp", lambda: webp_exif(shared_tags(1, 2_000_000)), "EXIF data above the limit"),
    "jpeg 2000 precincts": ("x.jp2", lambda: jpeg_2000(0x00), "too many small parts"),
    "jpeg 2000 layers": ("x.jp2", lambda: jpeg_2000(0x88, layers=65535), "too many small parts"),
    "progressive jpeg in a tiff": ("x.tif", jpeg_in_tiff, "broken image: decoder error"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_fault_02_work_for_one_image_is_bounded(what: str) -> None:
    _, make, reason = BOMBS[what]
    with pytest.raises(ImageError, match=reason):
        decode(make())


def test_fault_02_bytes_that_pillow_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_EXTRA_BYTES_OPENING", 0)
    monkeypatch.setattr(bounds, "MAX_BYTES_DECODING", 2000)
    stream = bounds.BoundedBytes(bytes(1000))

    def read_again() -> int:
        stream.seek(0)
        return len(stream.read())

    assert [read_again() for _ in range(4)] == [1000] * 4
    with pytest.raises(ImageError, match="the same bytes would be read too often"):
        read_again()
    stream.allow_decoding()
    assert [read_again() for _ in range(2)] == [1000] * 2
    with pytest.raises(ImageError, match="too often"):
        read_again()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("broken", [0, 1])
def test_fault_02_exif_data_as_cameras_write_them_are_read(broken: int) -> None:
    """Tags may share a few bytes, and an invalid count of a tag that is not read is no error."""
    exif = Image.Exif()
    exif[274], exif[305], exif[282], exif[283] = 6, "x" * 60_000, 72.0, 72.0
    exif.get_ifd(0x8769)[37500] = bytes(60_000)
    exif.get_ifd(0x8825)[1] = "N"
    data = exif.tobytes()
    if broken:
        data = data.replace(struct.pack(">HHI", 305, 2, 60_001), struct.pack(">HHI", 305, 2, 1 << 31))
        assert data != exif.tobytes()
    content = jpeg_segments(b"\xff\xe1", b"Exif\0\0", data[6:])
    assert decode(content).size == (192, 256)


def test_fault_02_progressive_scans_are_bounded_in_a_ranking(with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=2)
    (here.folder / "photos" / "cat" / "x.jpg").write_bytes(scans(20_000))
    done = here.call("rank", "photos", "-m", "made")
    done.check(0, "6 images of 3 classes", "skipped: photos/cat/x.jpg: more than 100 scans")
    here.call("rank", "photos", "-m", "made", "--strict").check(3, "photos/cat/x.jpg", "more than 100 scans")


@pytest.mark.full
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "BMP"])
def test_fault_02_large_photographs_are_within_the_bounds(kind: str) -> None:
    rng = np.random.default_rng(0)
    noisy = np.asarray(PHOTO.resize((1200, 800))).astype(int) + rng.integers(-20, 20, (800, 1200, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    options: dict[str, object] = {
        "JPEG": {"progressive": True, "quality": 98, "comment": b"x" * 60_000, "exif": b"Exif\0\0" + bytes(60_000)},
        "TIFF": {"compression": "jpeg"},
        "AVIF": {"speed": 10},
    }.get(kind, {})
    assert decode(encoded(image, kind, **options)).size == (1200, 800)


def test_fault_02_tiffs_of_a_row_per_strip_and_of_tiles_are_read() -> None:
    grey = PHOTO.convert("L")
    for compression in ("raw", "tiff_deflate"):
        content = encoded(grey, "TIFF", compression=compression, tiffinfo={278: 1})
        assert decode(content).tobytes() == grey.convert("RGB").tobytes()


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.argv = ["leepfrog", *sys.argv[1:]]
runpy.run_module("leepfrog", run_name="__main__")
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="address-space limits are enforced only on Linux")
def test_fault_34_an_oversized_image_file_is_skipped_and_named(with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=2)
    with open(here.folder / "photos" / "cat" / "big.jpg", "wb") as stream:
        stream.truncate(5_000_000_000)  # sparse
    run = [sys.executable, "-c", LIMITED, "rank", "photos", "-m", "made", "--threads", "1"]
    done = subprocess.run(run, cwd=here.folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "skipped: photos/cat/big.jpg: cannot be read: larger than the limit of 512 MiB" in done.stderr
    assert "6 images of 3 classes" in done.stdout + done.stderr


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices in the file system")
def test_fault_34_a_link_to_an_endless_device_is_skipped_and_named(with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=2)
    (here.folder / "photos" / "cat" / "zero.jpg").symlink_to("/dev/zero")
    done = process(["rank", "photos", "-m", "made"], cwd=here.folder)
    done.check(0, "skipped: photos/cat/zero.jpg: cannot be read: not a regular file")


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_fault_04_pipes_as_images_tables_and_data_sets_do_not_block(with_made: Path, here: Here) -> None:
    os.mkfifo(here.folder / "pipe")
    os.mkfifo(here.folder / "pipe.csv")
    folder_of_pieces(here.folder / "photos", count=2)
    os.mkfifo(here.folder / "photos" / "cat" / "pipe.jpg")
    (here.folder / "one").mkdir()
    os.mkfifo(here.folder / "one" / "metadata.csv")
    (here.folder / "zero.csv").symlink_to("/dev/zero")
    for source in ("pipe", "pipe.csv", "zero.csv"):
        process(["rank", source, "-m", "made"], cwd=here.folder).check(3, f"{source}: not a folder and not a .csv")
    process(["rank", "one", "-m", "made"], cwd=here.folder).check(
        3, "one/metadata.csv: cannot be read: not a regular file"
    )
    done = process(["rank", "one", "-m", "made"], cwd=here.folder)
    done.check(3, "one/metadata.csv: cannot be read: not a regular file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_fault_04_what_is_opened_is_what_was_checked(tmp_path: Path) -> None:
    """A file replaced by a pipe between check and open is neither waited for nor read."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert read_regular(path, 9) == read_regular(path, 3) == b"abc"
    with pytest.raises(OSError, match="larger than the limit of 2 bytes"):
        read_regular(path, 2)
    real = os.open

    def swapped(*arguments: object) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", swapped)
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(path, 9)
