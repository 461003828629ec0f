"""Limits on the work that one image file can cause, checked before a decoder sees it.

Decoding runs inside threads of this process and cannot be interrupted, so limits count what a file asks for rather
than measure time: the same file is always read, or always refused.
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
# A JPEG segment holds 64 KiB at most; Pillow joins several by copying all of them each time.
MAX_EXIF_BYTES = 1 << 20
# Tags of TIFF files and EXIF data may all point at the same bytes, which Pillow 11 copies for each of them. Together
# they may hold so many bytes more than the file: two tags of a camera may share a value, one may have a wrong count.
MAX_SHARED_TAG_BYTES = 1 << 20
MAX_DIRECTORIES = 16
# Plain PNM files hold their pixels as text, which Pillow parses number by number, copying the rest at each comment.
MAX_PLAIN_BYTES = 16 << 20
MAX_PLAIN_COMMENTS = 1000
# JPEG 2000: what OpenJPEG allocates, about 0.5 kB each, before it reads any data. A 2 kB file of one-pixel precincts
# takes all memory there is; an image at the pixel limit in blocks of 32 x 32 has 350,000.
MAX_PRECINCTS = MAX_CODE_BLOCKS = 1 << 19
MAX_PACKETS = 1 << 22
# TIFF: strips or tiles, bytes read for all of them, and pixels of padding in tiles.
MAX_STRIPS = 1 << 19
MAX_STRIP_BYTES = 1 << 30
MAX_TILE_PADDING = 1 << 24
# Reads by Pillow's own Python code, while it looks for the header and while it decodes.
MAX_READS_OPENING = 20_000
MAX_READS_DECODING = 4_000_000
# Bytes in these reads. While it looks for the header Pillow may keep them, so they are a few times the file at most.
# Decoders read 64 KiB for each strip, however short it is, and let go of them: these are MAX_STRIPS such strips.
MAX_EXTRA_BYTES_OPENING = 16 << 20
MAX_BYTES_DECODING = 1 << 35

# TIFF and BigTIFF; EXIF data begin like TIFF files.
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class BoundedBytes(io.BytesIO):
    """A file in memory that refuses to be read too often or too much, which ends any loop of Pillow's Python code."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads_left = MAX_READS_OPENING
        self._bytes_left = 4 * len(content) + MAX_EXTRA_BYTES_OPENING

    def read(self, size: int | None = -1, /) -> bytes:
        """As `io.BytesIO.read`; ImageError once the budget is spent."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ImageError("too many small parts to read")
        content = super().read(size)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise ImageError("the same bytes are to be read too often")
        return content

    def allow_decoding(self) -> None:
        """Call when the header has been read."""
        self._reads_left = MAX_READS_DECODING
        self._bytes_left = MAX_BYTES_DECODING


def check_content(content: bytes) -> None:
    """Refuse a file whose bytes ask for too much work.

    Raises:
        ImageError: they do.
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
    """Refuse EXIF data of an opened image that ask for too much memory; call before Pillow looks into them.

    Raises:
        ImageError: they do.
    """
    block = image.info.get("exif")
    if block is None and (text := image.info.get("Raw profile type exif")):  # ImageMagick's PNG files: hexadecimal
        with contextlib.suppress(ValueError):  # which Pillow will meet as well
            block = bytes.fromhex("".join(text.split("\n")[3:]))
    if block:
        _check_exif(block)


def check_opened(image: Image.Image, n_bytes: int) -> None:
    """Refuse an opened image, not decoded yet, that asks for too much memory or work.

    Args:
        image: as `Image.open` returns it.
        n_bytes: size of its file.

    Raises:
        ImageError: it does.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageError(f"{image.width} x {image.height} pixels, above the limit of {limit:,}")
    if isinstance(image, TiffImageFile):
        _check_tiff(image, n_bytes)


# A marker that is not a stuffed 0xFF of entropy-coded data, nor a restart marker within it.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_FRAMES = _PROGRESSIVE | {0xC0, 0xC1, 0xC3, 0xC5, 0xC7, 0xC9, 0xCB, 0xCD, 0xCF}
_NO_LENGTH = frozenset([0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)])
_END, _SCAN, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2


def _check_jpeg(content: bytes) -> None:
    """Count scans and EXIF bytes. A sequential JPEG with all components in its first scan ends there."""
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
            if content[at + 7 : at + 8] == b"\0":  # or Pillow passes over it
                exif.append(content[at + 8 : at + length])
            n_exif += length
            if n_exif > MAX_EXIF_BYTES:
                raise _too_much_exif()
        elif marker == _APP2 and content.startswith(b"MPF\0", at + 2):  # where a phone's further pictures are
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
# Bytes of a value of each type; Pillow passes over others.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_POINTERS = {3: "H", 4: "I", 13: "I", 16: "Q"}


def _check_exif(block: bytes) -> None:
    if len(block) > MAX_EXIF_BYTES:
        raise _too_much_exif()
    _check_directories(re.sub(rb"^(Exif\0\0){1,2}", b"", block), len(block))


def _too_much_exif() -> ImageError:
    return ImageError(f"EXIF data above the limit of {MAX_EXIF_BYTES:,} bytes")


def _check_avif(content: bytes) -> None:
    """Check EXIF data, into which Pillow looks while it opens the file.

    Any part of the file may be such data, and is if it begins like them: in compressed pixels that is rare.
    """
    for n, match in enumerate(re.finditer(rb"II[*+]\0|MM\0[*+]", content)):
        if n == MAX_DIRECTORIES:
            raise ImageError("too many EXIF blocks")
        _check_directories(memoryview(content)[match.start() :], MAX_EXIF_BYTES)


def _check_directories(content: bytes | memoryview, n_distinct: int) -> None:
    """Count what Pillow makes of the tags of a TIFF file's first image, or of EXIF data, when it looks into them.

    It makes Python objects of strips and tiles, and copies of all that does not fit into an entry.

    Args:
        content: begins like a TIFF file.
        n_distinct: the most bytes that its tags can hold if they share none.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    start, header, entry, n_inside = ("8xQ", "Q", "HHQQ", 8) if big else ("4xI", "H", "HHII", 4)
    start, header, entry = order + start, order + header, order + entry
    directories: list[int] = []
    n_bytes = 0
    with contextlib.suppress(struct.error):  # cut short, which Pillow will say
        directories += struct.unpack_from(start, content)
    for directory in directories:  # which grows
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
                    raise ImageError("too many tags that share their bytes")


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
    """Count the precincts, packets and code blocks that each coding style would need for the whole image."""
    start = content.find(b"\xff\x4f\xff\x51")
    try:
        right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", content, start + 8)
        components = int.from_bytes(content[start + 40 : start + 42], "big")
        width, height = right - left, bottom - top
        across, down = width // tile_width + 2, height // tile_height + 2
        layers = 1
        for marker, body in _jpeg_2000_segments(content, start + 2):
            # COD: style, progression, layers, transform, then as COC: levels, block width and height, ..., precincts.
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
                raise ImageError("JPEG 2000 file in too many small parts")
    except (struct.error, IndexError, ZeroDivisionError):
        raise ImageError("broken image: JPEG 2000 header") from None


def _jpeg_2000_segments(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Marker segments of the main header and of all tile-part headers."""
    tile_part = 0
    for _ in range(MAX_STRIPS):
        if content[at : at + 1] != b"\xff":
            return
        marker = content[at + 1]
        if marker == 0x93:  # SOD: the tile-part's data follow
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
