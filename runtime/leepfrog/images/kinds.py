"""Recognition of image files by file extension, and notes on the files that are not read."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from leepfrog.files import printable
from leepfrog.images import heif


def word_set(text: str) -> frozenset[str]:
    """Return the set of whitespace-separated words of a text."""
    return frozenset(text.split())


EXTENSIONS = word_set(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .pfm .avif "
    ".jp2 .j2k .j2c .jpc .jpf .jpx"
)
HEIF_EXTENSIONS = frozenset([".heic", ".heif", ".hif"])

_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 "
    ".srf .srw .x3f"
)
_OTHER_IMAGES = (
    ".bpg .czi .dcm .dds .dib .dicom .ecw .exr .fits .flif .hdp .jls .jng .jxl .jxr .kra .lif .mrxs .nd2 .ndpi .pcx "
    ".psb .psd .ras .sgi .svs .tga .vsi .wbmp .wdp .xbm .xcf .xpm"
)
# Documents, drawings, icons, volumes, arrays, and extensions that other file types share.
_MAYBE_IMAGES = ".ai .cur .eps .fit .hdr .icns .ico .img .mha .mng .nii .npy .nrrd .pdf .pic .ps .svg .svgz .wmf"
_VIDEOS = ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .webm .wmv"
# Files that usually accompany images; nobody would miss them in the set.
_COMPANIONS = word_set(
    ".aae .cfg .csv .db .htm .html .ini .ipynb .json .jsonl .lnk .log .md .py .rst .sh .thm .toml .tsv .txt .url .xml "
    ".xmp .yaml .yml"
)

_FAMILIES: dict[str, tuple[str, str]] = {  # extension: (description, fix)
    **dict.fromkeys(sorted(HEIF_EXTENSIONS), ("HEIC image(s)", f"{heif.INSTALL} adds support")),
    **dict.fromkeys(_RAW.split(), ("camera raw file(s)", "convert them to JPEG or PNG")),
    **dict.fromkeys(_OTHER_IMAGES.split(), ("image(s) in unsupported formats", "convert them to JPEG or PNG")),
    **dict.fromkeys(_MAYBE_IMAGES.split(), ("file(s) that may be images", "convert actual images to JPEG or PNG")),
    **dict.fromkeys(_VIDEOS.split(), ("video(s)", "extract frames from them")),
}
_UNKNOWN = ("file(s) of other types", "")
# Families that are not necessarily images; `strict` ignores them.
_NO_IMAGES = (_FAMILIES[".pdf"], _FAMILIES[".mp4"], _UNKNOWN)

SHOWN = 5


def ending(name: str) -> str:
    """Return the file extension of a name in lower case, such as ".jpg", or "" if there is none."""
    return os.path.splitext(name)[1].lower()


def is_image(name: str) -> bool:
    """Return whether a file of this name is read as an image in this environment."""
    return ending(name) in EXTENSIONS or (ending(name) in HEIF_EXTENSIONS and heif.installed())


def is_companion(name: str) -> bool:
    """Return whether a file of this name may be ignored silently."""
    return ending(name) in _COMPANIONS


def not_read(endings: Mapping[str, Counter[str]]) -> Iterator[tuple[str, bool]]:
    """Yield a sentence about each family of files that were not read, and whether they are images.

    Args:
        endings: number of files by place and file extension.
    """
    families: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    places: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for place, counts in endings.items():
        for suffix, n in counts.items():
            family = _FAMILIES.get(suffix, _UNKNOWN)
            families[family][suffix or "no extension"] += n
            places[family][place] += n
    for family, suffixes in families.items():
        what, remedy = family
        where = ", ".join(f"{printable(place)} {n}" for place, n in places[family].most_common(SHOWN))
        more = f", and {len(places[family]) - SHOWN} more" if len(places[family]) > SHOWN else ""
        kinds = ", ".join(printable(suffix) for suffix, _ in suffixes.most_common(SHOWN))
        fix = f"; {remedy}" if remedy else ""
        yield f"{suffixes.total()} {what} ({kinds}) were not read: {where}{more}{fix}", family not in _NO_IMAGES
