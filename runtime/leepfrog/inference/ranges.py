"""Value ranges of images with more than 8 bits, stored on disk to avoid decoding every image again."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from leepfrog import paths, stated
from leepfrog.arguments import StrPath
from leepfrog.errors import MachineError
from leepfrog.files import LARGEST_TEXT, read_regular, sealed, sha256_of, unsealed, write_whole
from leepfrog.images.dataset import Digest
from leepfrog.images.decode import PIPELINE_VERSION, Container, Greys, decoder_versions

# The file is read and written as a whole; it takes 6 MB at this limit. Images beyond the limit are decoded again.
MOST_KEPT = 1 << 16

_LARGEST: dict[Container, int] = {"16 bits": 65535, "32 bits": 65535, "floats": 255, "16-bit colours": 255}


def stored_ranges(folder: StrPath | None = None) -> dict[Digest, Greys]:
    """Return the stored ranges by image digest; empty if the file is missing or damaged.

    The file name contains the decoder versions, so ranges computed with other versions are not used.

    Args:
        folder: cache folder for model outputs; None for leepfrog's default.
    """
    try:
        values = unsealed(read_regular(_path(folder), LARGEST_TEXT))
        return {bytes.fromhex(digest): _greys(*fields) for digest, fields in values.items()}
    except (MachineError, OSError, ValueError, TypeError):
        return {}


def store_ranges(ranges: Mapping[Digest, Greys], stored: Mapping[Digest, Greys], folder: StrPath | None = None) -> None:
    """Store ranges for later runs; do nothing if the file cannot be written.

    Args:
        ranges: ranges of this run's images, which take precedence if not all can be stored.
        stored: the result of `stored_ranges`.
        folder: same as for `stored_ranges`.
    """
    if ranges.keys() <= stored.keys():
        return
    chosen = itertools.islice({**ranges, **stored}.items(), MOST_KEPT)
    with contextlib.suppress(MachineError):
        write_whole(_path(folder), sealed({digest.hex(): greys for digest, greys in chosen}))


def _path(folder: StrPath | None) -> Path:
    decides = json.dumps([PIPELINE_VERSION, *decoder_versions()])
    return Path(folder or paths.inference()) / f"ranges-{sha256_of(decides.encode())[:16]}.json"


def _greys(container: str, highest: object) -> Greys:
    for known, largest in _LARGEST.items():
        if container == known:
            return Greys(known, stated.number(highest, "the highest value", 0, largest))
    raise ValueError("unknown container")
