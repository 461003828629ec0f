"""HEIC and HEIF images, as taken by phones, read with the optional pillow-heif package."""

from __future__ import annotations

import functools
import importlib.util
import io

from PIL import Image

from leepfrog.errors import ImageError

INSTALL = "pip install pillow-heif"

_HEVC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_ANY_BRANDS = frozenset([b"mif1", b"msf1"])


def is_heif(content: bytes) -> bool:
    """Return whether a file declares itself HEIF; AVIF, which Pillow reads by itself, does not count."""
    if content[4:8] != b"ftyp":
        return False
    listed = content[8 : min(int.from_bytes(content[:4], "big"), 1024)]
    brands = {listed[:4], *(listed[i : i + 4] for i in range(8, len(listed), 4))}
    return bool(brands & _HEVC_BRANDS) or bool(brands & _ANY_BRANDS and not brands & _AVIF_BRANDS)


def installed() -> bool:
    """Return whether pillow-heif is installed, so that HEIF images can be read."""
    return importlib.util.find_spec("pillow_heif") is not None


@functools.cache
def version() -> str:
    """Return the versions of all libraries that affect the pixels of HEIF images; "" if pillow-heif is missing."""
    if not installed():
        return ""
    import pillow_heif

    info = pillow_heif.libheif_info()
    return ", ".join(
        [f"pillow_heif {pillow_heif.__version__}", f"libheif {info['libheif']}", *info["decoders"].values()]
    )


def open_heif(content: bytes) -> Image.Image:
    """Open the primary image of a HEIF file without decoding it; ImageError if pillow-heif is missing.

    libheif applies the rotation stored in the file. The EXIF orientation repeats that rotation, so pillow-heif resets
    it to 1. pillow-heif is not registered as a Pillow plugin, so programs that call leepfrog see no change.
    """
    if not installed():
        raise ImageError(f"HEIC support is not installed; run {INSTALL}")
    from pillow_heif import HeifImageFile

    image: Image.Image = HeifImageFile(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return image
