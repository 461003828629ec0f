"""HEIC and HEIF images, the photographs of phones, through pillow-heif, which is an extra."""

from __future__ import annotations

import functools
import importlib.util
import io

from PIL import Image

from leepfrog.errors import ImageError

INSTALL = "pip install 'leepfrog[heic]'"

_HEVC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_ANY_BRANDS = frozenset([b"mif1", b"msf1"])


def is_heif(content: bytes) -> bool:
    """Whether a file declares itself HEIF and is not AVIF, which Pillow reads."""
    if content[4:8] != b"ftyp":
        return False
    listed = content[8 : min(int.from_bytes(content[:4], "big"), 1024)]
    brands = {listed[:4], *(listed[i : i + 4] for i in range(8, len(listed), 4))}
    return bool(brands & _HEVC_BRANDS) or bool(brands & _ANY_BRANDS and not brands & _AVIF_BRANDS)


def installed() -> bool:
    """Whether HEIF images can be read here."""
    return importlib.util.find_spec("pillow_heif") is not None


@functools.cache
def version() -> str:
    """Versions of all that decides the pixels of HEIF images; "" where they cannot be read."""
    if not installed():
        return ""
    import pillow_heif

    info = pillow_heif.libheif_info()
    return ", ".join(
        [f"pillow_heif {pillow_heif.__version__}", f"libheif {info['libheif']}", *info["decoders"].values()]
    )


def open_heif(content: bytes) -> Image.Image:
    """The primary image of a HEIF file, not decoded yet; ImageError where pillow-heif is missing.

    libheif applies the file's own rotation; EXIF orientation repeats it, and pillow-heif resets it to 1. Pillow's list
    of formats is left as it is, so programs that call leepfrog see no change.
    """
    if not installed():
        raise ImageError(f"a HEIC image, which needs {INSTALL}")
    from pillow_heif import HeifImageFile

    image: Image.Image = HeifImageFile(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return image
