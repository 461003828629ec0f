"""Randomly damaged image files: an RGB image or an ImageError, within limits of time and memory."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tally
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import ImageError
from leepfrog.images.decode import decode, decode_reduced
from mutations import damage
from photos import photo
from PIL import Image, features

pytestmark = pytest.mark.full

CAT, COFFEE = (Image.fromarray(photo(name)).resize((96, 72)) for name in ("cat", "coffee"))
EXIF = Image.Exif()
EXIF[0x0112] = 6


def encoded(kind: str, image: Image.Image = CAT, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


MOVING = {"save_all": True, "append_images": [COFFEE]}
SEEDS = {
    "JPEG": [encoded("JPEG", exif=EXIF), encoded("JPEG", COFFEE.convert("CMYK")), encoded("JPEG", progressive=True)],
    "PNG": [
        encoded("PNG", exif=EXIF),
        encoded("PNG", CAT.quantize(16), transparency=3),
        encoded("PNG", Image.fromarray(np.asarray(CAT.convert("L"), np.uint16) * 257)),
    ],
    "WEBP": [encoded("WEBP"), encoded("WEBP", COFFEE.convert("RGBA"), lossless=True), encoded("WEBP", **MOVING)],
    "GIF": [encoded("GIF"), encoded("GIF", **MOVING)],
    "TIFF": [
        encoded("TIFF"),
        encoded("TIFF", CAT.convert("F")),
        encoded("TIFF", compression="tiff_lzw"),
        encoded("TIFF", compression="jpeg"),
        encoded("TIFF", CAT.convert("CMYK"), compression="tiff_deflate"),
    ],
    "BMP": [encoded("BMP"), encoded("BMP", CAT.quantize(16))],
    "JPEG2000": [encoded("JPEG2000"), encoded("JPEG2000", irreversible=True, num_resolutions=3)],
    "PPM": [encoded("PPM"), encoded("PPM", CAT.convert("L"))],
    "MPO": [encoded("MPO", save_all=True, append_images=[COFFEE])],
}
if features.check("avif"):
    SEEDS["AVIF"] = [encoded("AVIF"), encoded("AVIF", **MOVING)]

# Time limit per file, for a busy machine, and limit of the growth in peak memory over all files.
SECONDS, BYTES = 20.0, 1 << 30
PIXELS = 4_000_000


def peak() -> int:
    resource = pytest.importorskip("resource", reason="peak memory is measured on Unix only")
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


@pytest.mark.parametrize("kind", sorted(SEEDS))
def test_damaged_images(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", PIXELS)
    before = peak()

    @tally.examples(70)
    @given(st.sampled_from(SEEDS[kind]), damage(*SEEDS[kind], SEEDS["PNG"][0]), st.sampled_from((1, 2, 8)))
    def try_one(seed: bytes, to: Any, times: int) -> None:
        content = to(seed)
        try:
            with tally.limited("images", SECONDS, **{f"damaged_{kind.lower()}": content}):
                image = decode(content)
                (reduced,) = decode_reduced(content, [lambda width, height: times])
        except ImageError as error:
            assert str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            tally.outcome("images", "refused")
        else:
            for each in (image, reduced.image):
                assert each.mode == "RGB"
                assert 1 <= each.width * each.height <= PIXELS
            tally.outcome("images", "decoded")

    try_one()
    assert peak() - before < BYTES
