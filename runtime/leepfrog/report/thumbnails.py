"""Thumbnails of images as data URIs, for embedding in a page."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Sequence

from PIL import Image

from leepfrog.errors import ImageError
from leepfrog.images.dataset import ImageSet

# Longer side of a thumbnail in pixels, and limit on the total size of all data URIs of a page.
SIDE = 96
MOST_BYTES = 600_000
QUALITY = 72


def thumbnails(images: ImageSet, positions: Sequence[int], most_bytes: int = MOST_BYTES) -> list[str | None]:
    """Return JPEG data URIs of images, one per position, in order until the limit is reached.

    Args:
        images: the images as the models saw them (`HashedImages.image_set`), with the same scaling of deep greys.
        positions: index of each wanted image in the set. Repeated images count again, since the page holds a copy each
            time.
        most_bytes: limit on the total size.

    Returns:
        A data URI for each position, or None if the limit is exceeded or the image can no longer be read.
    """
    made: dict[int, str] = {}
    uris: list[str | None] = []
    left = most_bytes
    for at in positions:
        if left > 0 and at not in made:
            # The image was readable before; the report should not fail if it no longer is.
            with contextlib.suppress(ImageError):
                made[at] = _data_uri(images, at)
        uri = made.get(at)
        left -= len(uri or "")
        uris.append(uri if left >= 0 else None)
    return uris


def _data_uri(images: ImageSet, at: int) -> str:
    _, (decoded,) = images.images[at].load_reduced([_reduction])
    image = decoded.image
    times = SIDE / max(image.size)
    if times < 1:
        size = max(1, round(image.width * times)), max(1, round(image.height * times))
        image = image.resize(size, Image.Resampling.LANCZOS)
    else:
        image = image.copy()
    image.info.clear()  # Pillow would copy comments, and metadata such as the GPS position must not leak
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _reduction(width: int, height: int) -> int:
    """Return the reduction that decodes an image at no less than twice the thumbnail's size."""
    return next((times for times in (8, 4, 2) if max(width, height) // times >= 2 * SIDE), 1)
