"""Small copies of images that a page carries in itself."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Sequence

from PIL import Image

from leepfrog.errors import ImageError
from leepfrog.images.dataset import ImageSet

# The longer side in pixels, and the most that the data URIs of a page may take together.
SIDE = 96
MOST_BYTES = 600_000
QUALITY = 72


def thumbnails(images: ImageSet, positions: Sequence[int], most_bytes: int = MOST_BYTES) -> list[str | None]:
    """JPEG data URIs of images of a set, one a position, first come first served while they fit.

    Args:
        images: the set as the models saw it (`HashedImages.image_set`), so that deep greys are as bright as for them.
        positions: where in the set each wanted image stands; a page holds a copy wherever it shows one, so what comes
            again is counted again.
        most_bytes: of all together.

    Returns:
        None where an image would exceed that, or can no longer be read.
    """
    made: dict[int, str] = {}
    uris: list[str | None] = []
    left = most_bytes
    for at in positions:
        if left > 0 and at not in made:
            # It could be read a moment ago; a report need not fail for it.
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
    image.info.clear()  # Pillow would write a comment on; where a photograph was taken is nobody's business either
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _reduction(width: int, height: int) -> int:
    """Decoded at twice the thumbnail's size at least."""
    return next((times for times in (8, 4, 2) if max(width, height) // times >= 2 * SIDE), 1)
