"""Limits on the work that one image file can cause, checked before decoding.

Decoding runs in threads of this process and cannot be interrupted. The limits therefore count the work that a file
requests instead of measuring time, which also makes them deterministic: a file is either always read or always refused.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections.abc import Iterator

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from leepfrog.errors import ImageError
from leepfrog.images.heif import is_heif

# An uncompressed image at Pillow's pixel limit takes 268 MB in 8-bit RGB.
MAX_FILE_BYTES = 1 << 29
# Encoders write about 10 scans; libtiff accepts 100 in a JPEG strip.
MAX_SCANS = 100
# A JPEG segment is limited to 64 KiB; Pillow joins several segments by copying all of them each time.
MAX_EXIF_BYTES = 1 << 20
# All tags of a TIFF file or of EXIF data may point to the same bytes, which Pillow 11 copies for each tag. In total,
# tags may exceed the size of the file by this much: a camera may share a value between two tags or write a wrong count.
MAX_SHARED_TAG_BYTES = 1 << 20
MAX_DIRECTORIES = 16
# Plain PNM files store pixels as text, which Pillow parses number by number, copying the remainder at each comment.
MAX_PLAIN_BYTES = 16 << 20
MAX_PLAIN_COMMENTS = 1000
# JPEG 2000: objects that OpenJPEG allocates before it reads any data, about 0.5 kB each. A 2 kB file with one-pixel
# precincts would exhaust the memory. An image at the pixel limit, in blocks of 32 x 32, has 350,000 of them.
MAX_PRECINCTS = MAX_CODE_BLOCKS = 1 << 19
MAX_PACKETS = 1 << 22
# TIFF: number of strips or tiles, bytes read for all of them, and padding pixels in tiles.
MAX_STRIPS = 1 << 19
MAX_STRIP_BYTES = 1 << 30
MAX_TILE_PADDING = 1 << 24
# Number of reads by Pillow's Python code while it parses the header and while it decodes.
MAX_READS_OPENING = 20_000
MAX_READS_DECODING = 4_000_000
# Bytes read in total. While parsing the header, Pillow may keep them, so the limit is a few times the file size.
# Decoders read 64 KiB per strip, however short it is, and release them: the limit is MAX_STRIPS such strips.
MAX_EXTRA_BYTES_OPENING = 16 << 20
MAX_BYTES_DECODING = 1 << 35

# TIFF and BigTIFF; EXIF data begin like TIFF files.
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class BoundedBytes(io.BytesIO):
    """An in-memory file with a budget of reads and bytes, so that every loop in Pillow's Python code terminates."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads_left = MAX_READS_OPENING
        self._bytes_left = 4 * len(content) + MAX_EXTRA_BYTES_OPENING

    def read(self, size: int | None = -1, /) -> bytes:
        """Same as `io.BytesIO.read`, but raises ImageError once the budget is used up."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ImageError("too many small parts to read")
        content = super().read(size)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise ImageError("the same bytes would be read too often")
        return content

    def allow_decoding(self) -> None:
        """Reset the budget for decoding; call it once the header has been read."""
        self._reads_left = MAX_READS_DECODING
        self._bytes_left = MAX_BYTES_DECODING


def check_content(content: bytes) -> None:
    """Check that decoding a file does not require too much work, judging by its bytes.

    Raises:
        ImageError: a limit is exceeded.
    """
    if content.startswith(b"\xff\xd8\xff"):
        _check_jpeg(content)
    elif content[:2] in (b"P1", b"P2", b"P3"):
        if len(content) > MAX_PLAIN_BYTES:
            raise ImageError(f"plain-text PNM of {len(content):,} bytes, above the limit of {MAX_PLAIN_BYTES:,}")
        if content.count(b"#") > MAX_PLAIN_COMMENTS:
            raise ImageError(f"plain-text PNM with more than {MAX_PLAIN_COMMENTS:,} comments")
    elif content.startswith(b"\xff\x4f\xff\x51") or content[4:8] == b"jP  ":
        _check_jpeg_2000(content)
    elif content[:4] in TIFF_HEADERS:
        _check_directories(content, len(content))
    elif content[4:8] == b"ftyp" and not is_heif(content):
        _check_avif(content)


def check_exif(image: Image.Image) -> None:
    """Check that the EXIF data of an opened image do not require too much memory; call it before Pillow parses them.

    Raises:
        ImageError: a limit is exceeded.
    """
    block = image.info.get("exif")
    if block is None and (text := image.info.get("Raw profile type exif")):  # hexadecimal, in PNG files of ImageMagick
        with contextlib.suppress(ValueError):  # Pillow will fail on it as well
            block = bytes.fromhex("".join(text.split("\n")[3:]))
    if block:
        _check_exif(block)


def check_opened(image: Image.Image, n_bytes: int) -> None:
    """Check that decoding an opened image does not require too much memory or work.

    Args:
        image: image as returned by `Image.open`, not decoded yet.
        n_bytes: size of its file.

    Raises:
        ImageError: a limit is exceeded.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageError(f"{image.width} x {image.height} pixels, above the limit of {limit:,}")
    if isinstance(image, TiffImageFile):
        _check_tiff(image, n_bytes)


# A marker other than a stuffed 0xFF or a restart marker within entropy-coded data.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_FRAMES = _PROGRESSIVE | {0xC0, 0xC1, 0xC3, 0xC5, 0xC7, 0xC9, 0xCB, 0xCD, 0xCF}
_NO_LENGTH = frozenset([0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)])
_END, _SCAN, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2


def _check_jpeg(content: bytes) -> None:
    """Check the number of scans and of EXIF bytes; stop after the first scan if that is a complete sequential image."""
    at = n_exif = scans = components = 0
    exif: list[bytes] = []
    progressive = False
    while match := _JPEG_MARKER.search(content, at):
        marker, at = match[1][0], match.end()
        if marker == _END and scans:
            return
        if marker in _NO_LENGTH:
            continue
        if marker in _FRAMES and at + 7 < len(content):
            progressive, components = marker in _PROGRESSIVE, content[at + 7]
        elif marker == _APP1 and content.startswith(b"Exif\0", at + 2):
            length = int.from_bytes(content[at : at + 2], "big")
            if content[at + 7 : at + 8] == b"\0":  # otherwise Pillow ignores it
                exif.append(content[at + 8 : at + length])
            n_exif += length
            if n_exif > MAX_EXIF_BYTES:
                raise _too_much_exif()
        elif marker == _APP2 and content.startswith(b"MPF\0", at + 2):  # index of further pictures, written by phones
            segment = content[at + 6 : at + int.from_bytes(content[at : at + 2], "big")]
            _check_directories(segment, len(segment))
        elif marker == _SCAN:
            if not scans:
                _check_exif(b"".join(exif))
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError(f"more than {MAX_SCANS} scans")
            if not progressive and content[at + 2 : at + 3] == bytes([components]):
                return
        at += int.from_bytes(content[at : at + 2], "big")


_STRIP_OFFSETS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 322, 323, 324, 325


_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
# Size of a value of each type, in bytes; Pillow ignores other types.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_POINTERS = {3: "H", 4: "I", 13: "I", 16: "Q"}


def _check_exif(block: bytes) -> None:
    if len(block) > MAX_EXIF_BYTES:
        raise _too_much_exif()
    _check_directories(re.sub(rb"^(Exif\0\0){1,2}", b"", block), len(block))


def _too_much_exif() -> ImageError:
    return ImageError(f"EXIF data above the limit of {MAX_EXIF_BYTES:,} bytes")


def _check_avif(content: bytes) -> None:
    """Check the EXIF data of an AVIF file, which Pillow parses when it opens the file.

    Every part of the file that begins like EXIF data is treated as such; compressed pixels rarely do.
    """
    for n, match in enumerate(re.finditer(rb"II[*+]\0|MM\0[*+]", content)):
        if n == MAX_DIRECTORIES:
            raise ImageError("too many EXIF blocks")
        _check_directories(memoryview(content)[match.start() :], MAX_EXIF_BYTES)


def _check_directories(content: bytes | memoryview, n_distinct: int) -> None:
    """Check the objects that Pillow creates when it parses the tags of a TIFF file's first image or of EXIF data.

    Pillow creates Python objects for strips and tiles, and copies every value that does not fit into its entry.

    Args:
        content: data that begin like a TIFF file.
        n_distinct: maximum total size of the tags if they share no bytes.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    start, header, entry, n_inside = ("8xQ", "Q", "HHQQ", 8) if big else ("4xI", "H", "HHII", 4)
    start, header, entry = order + start, order + header, order + entry
    directories: list[int] = []
    n_bytes = 0
    with contextlib.suppress(struct.error):  # truncated, which Pillow will report
        directories += struct.unpack_from(start, content)
    for directory in directories:  # the list grows during the loop
        with contextlib.suppress(struct.error):
            (n_tags,) = struct.unpack_from(header, content, directory)
            at = directory + struct.calcsize(header)
            for _ in range(min(n_tags, MAX_READS_OPENING)):
                tag, kind, count, place = struct.unpack_from(entry, content, at)
                at += struct.calcsize(entry)
                size = count * _SIZES.get(kind, 0)
                if tag in (_STRIP_OFFSETS, _TILE_OFFSETS, _STRIP_BYTES, _TILE_BYTES) and count > MAX_STRIPS:
                    raise ImageError(f"{count:,} strips or tiles, above the limit of {MAX_STRIPS:,}")
                if size > n_inside:
                    n_bytes += max(min(size, len(content) - place), 0)
                elif tag in (_EXIF, _GPS, _INTEROPERABILITY) and kind in _POINTERS:
                    directories += struct.unpack_from(order + _POINTERS[kind], content, at - n_inside)
                if n_bytes > n_distinct + MAX_SHARED_TAG_BYTES or len(directories) > MAX_DIRECTORIES:
                    raise ImageError("too many tags share the same bytes")


def _check_tiff(image: TiffImageFile, n_bytes: int) -> None:
    tags = image.tag_v2
    counts = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    if sum(counts) > 4 * n_bytes + MAX_STRIP_BYTES:
        raise ImageError(f"strips or tiles of {sum(counts):,} bytes in a file of {n_bytes:,}")
    width, height = tags.get(_TILE_WIDTH), tags.get(_TILE_HEIGHT)
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        padded = -(-image.width // width) * width * (-(-image.height // height) * height)
        if padded > 4 * image.width * image.height + MAX_TILE_PADDING:
            raise ImageError(f"tiles of {padded:,} pixels for an image of {image.width} x {image.height}")


def _check_jpeg_2000(content: bytes) -> None:
    """Check the number of precincts, packets and code blocks that each coding style requires for the whole image."""
    start = content.find(b"\xff\x4f\xff\x51")
    try:
        right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", content, start + 8)
        components = int.from_bytes(content[start + 40 : start + 42], "big")
        width, height = right - left, bottom - top
        across, down = width // tile_width + 2, height // tile_height + 2
        layers = 1
        for marker, body in _jpeg_2000_segments(content, start + 2):
            # COD: style, progression, layers, transform; then, as in COC: levels, block width and height, ...,
            # precincts.
            if marker == 0x52:
                layers, style, at = int.from_bytes(body[2:4], "big"), body[0], 5
            elif marker == 0x53:
                at = 2 if components < 257 else 3
                style = body[at - 1]
            else:
                continue
            levels, sizes = body[at], body[at + 5 :]
            precincts = blocks = 0
            for level in range(levels + 1):
                size = sizes[min(level, len(sizes) - 1)] if style & 1 and sizes else 0xFF
                shrunk = levels - level
                columns = (width >> shrunk >> (size & 15)) + across
                rows = (height >> shrunk >> (size >> 4)) + down
                precincts += columns * rows * components
                wide, tall = min(body[at + 1] + 2, size & 15), min(body[at + 2] + 2, size >> 4)
                blocks += ((width >> shrunk >> wide) + across) * ((height >> shrunk >> tall) + down) * components
            if precincts > MAX_PRECINCTS or precincts * layers > MAX_PACKETS or blocks > MAX_CODE_BLOCKS:
                raise ImageError("JPEG 2000 file with too many small parts")
    except (struct.error, IndexError, ZeroDivisionError):
        raise ImageError("broken image: JPEG 2000 header") from None


def _jpeg_2000_segments(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the marker segments of the main header and of all tile-part headers."""
    tile_part = 0
    for _ in range(MAX_STRIPS):
        if content[at : at + 1] != b"\xff":
            return
        marker = content[at + 1]
        if marker == 0x93:  # SOD: followed by the data of the tile-part
            length = int.from_bytes(content[tile_part + 6 : tile_part + 10], "big")
            if not length:
                return
            at = max(at + 2, tile_part + length)
            continue
        if marker == 0x90:  # SOT
            tile_part = at
        elif marker == 0xD9:
            return
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, content[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)
    raise ImageError(f"more than {MAX_STRIPS:,} marker segments")
