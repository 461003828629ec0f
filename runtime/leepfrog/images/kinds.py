"""Which files are images, by the endings of their names, and what is said about those that are not read."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from leepfrog.files import printable
from leepfrog.images import heif


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
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
# Documents, drawings, icons, volumes, arrays, and endings that other programs use as well.
_MAYBE_IMAGES = ".ai .cur .eps .fit .hdr .icns .ico .img .mha .mng .nii .npy .nrrd .pdf .pic .ps .svg .svgz .wmf"
_VIDEOS = ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .webm .wmv"
# Files that usually accompany images, and are no images that somebody may miss.
_COMPANIONS = word_set(
    ".aae .cfg .csv .db .htm .html .ini .ipynb .json .jsonl .lnk .log .md .py .rst .sh .thm .toml .tsv .txt .url .xml "
    ".xmp .yaml .yml"
)

_FAMILIES: dict[str, tuple[str, str]] = {  # ending: (what it is, what to do)
    **dict.fromkeys(sorted(HEIF_EXTENSIONS), ("HEIC image(s)", f"{heif.INSTALL} reads them")),
    **dict.fromkeys(_RAW.split(), ("camera raw file(s)", "convert them to JPEG or PNG")),
    **dict.fromkeys(_OTHER_IMAGES.split(), ("image(s) of unsupported kinds", "convert them to JPEG or PNG")),
    **dict.fromkeys(_MAYBE_IMAGES.split(), ("file(s) that may be images", "convert those that are to JPEG or PNG")),
    **dict.fromkeys(_VIDEOS.split(), ("video(s)", "extract frames from them")),
}
_UNKNOWN = ("file(s) of other kinds", "")
# Those that nobody may miss as an image of the set, which `strict` passes over.
_NO_IMAGES = (_FAMILIES[".pdf"], _FAMILIES[".mp4"], _UNKNOWN)

SHOWN = 5


def ending(name: str) -> str:
    """The ending of a file's name in lower case, ".jpg"; "" where it has none."""
    return os.path.splitext(name)[1].lower()


def is_image(name: str) -> bool:
    """Whether a file is read as an image here, by its name."""
    return ending(name) in EXTENSIONS or (ending(name) in HEIF_EXTENSIONS and heif.installed())


def is_companion(name: str) -> bool:
    """Whether a file may be passed over without a word."""
    return ending(name) in _COMPANIONS


def not_read(endings: Mapping[str, Counter[str]]) -> Iterator[tuple[str, bool]]:
    """A sentence about each family of files that were not read, and whether they are images.

    Args:
        endings: how many files of each ending lie in each place.
    """
    families: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    places: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for place, counts in endings.items():
        for suffix, n in counts.items():
            family = _FAMILIES.get(suffix, _UNKNOWN)
            families[family][suffix or "without an ending"] += n
            places[family][place] += n
    for family, suffixes in families.items():
        what, remedy = family
        where = ", ".join(f"{printable(place)} {n}" for place, n in places[family].most_common(SHOWN))
        more = f", and {len(places[family]) - SHOWN} more" if len(places[family]) > SHOWN else ""
        kinds = ", ".join(printable(suffix) for suffix, _ in suffixes.most_common(SHOWN))
        fix = f"; {remedy}" if remedy else ""
        yield f"{suffixes.total()} {what} ({kinds}) were not read: {where}{more}{fix}", family not in _NO_IMAGES
