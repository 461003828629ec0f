"""Cached value ranges of deep gray images, so that cached runs need not decode them (fault 23)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages, hash_images
from leepfrog.files import sealed
from leepfrog.images import dataset
from leepfrog.images.decode import Greys
from leepfrog.images.find import find_images
from leepfrog.inference import ranges
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Create four deep images in two formats and a plain 8-bit image."""
    folder = tmp_path / "photos"
    for i, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 4000 + i, np.uint16)).save(folder / name / "0.png")
        Image.fromarray(np.full((8, 8), i / 2, np.float32)).save(folder / name / "1.tif")
    Image.new("RGB", (8, 8)).save(folder / "a" / "2.png")
    return folder


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """File contents examined for their value range, in order."""
    contents: list[bytes] = []
    real = dataset.deep_greys

    def counted(content: bytes) -> Greys | None:
        contents.append(content)
        return real(content)

    monkeypatch.setattr(dataset, "deep_greys", counted)
    return contents


def hashed(photos: Path, cache: Path | None = None) -> HashedImages:
    return hash_images(find_images(photos), RunContext(threads=2, cache=cache))


def test_fault_23_a_cached_ranking_decodes_no_deep_image(
    home: Path, with_made: Path, photos: Path, examined: list[bytes]
) -> None:
    first = leepfrog.rank(photos, [with_made / "models" / "made.onnx"])
    assert len(examined) == 5
    examined.clear()
    second = leepfrog.rank(photos, [with_made / "models" / "made.onnx"])
    assert examined == [(photos / "a" / "2.png").read_bytes()]  # its header shows that it is plain
    assert second.notes == first.notes
    assert second.models[0].scores["leep"] == first.models[0].scores["leep"]
    examined.clear()
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(photos / "b" / "0.png")
    changed = hashed(photos)
    assert len(examined) == 2
    assert [getattr(image, "white", None) for image in changed.image_set.images] == [65535, 1, None, 65535, 1]


def test_fault_23_a_run_with_its_own_cache_uses_no_other(
    home: Path, photos: Path, examined: list[bytes], tmp_path: Path
) -> None:
    hashed(photos)
    hashed(photos, tmp_path / "own")
    assert len(examined) == 10
    hashed(photos, tmp_path / "own")
    assert len(examined) == 11


DIGEST = "ab" * 32
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[:-9],
    "empty": lambda content: b"",
    "no JSON": lambda content: b"\xff\0",
    "another number": lambda content: content.replace(b"4000", b"4095"),
    "a list": lambda content: b"[]",
    "another container": lambda content: sealed({DIGEST: ["64 bits", 1]}),
    "too large": lambda content: sealed({DIGEST: ["floats", 256]}),
    "negative": lambda content: sealed({DIGEST: ["floats", -1]}),
    "a text": lambda content: sealed({DIGEST: ["floats", "1"]}),
    "fields missing": lambda content: sealed({DIGEST: ["floats"]}),
    "no pair": lambda content: sealed({DIGEST: 7}),
    "no digest": lambda content: sealed({"x": ["floats", 1]}),
    "not finite": lambda content: sealed({DIGEST: ["floats", float("nan")]}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_23_damaged_ranges_are_found_again(damage: str, home: Path, photos: Path, examined: list[bytes]) -> None:
    first = hashed(photos)
    (kept,) = (home / "inference").glob("ranges-*.json")
    whole = kept.read_bytes()
    kept.write_bytes(DAMAGES[damage](whole))
    assert kept.read_bytes() != whole
    examined.clear()
    second = hashed(photos)
    assert len(examined) == 5
    assert (second.digests, second.grey_notes) == (first.digests, first.grey_notes)
    assert json.loads(kept.read_bytes()) == json.loads(whole)


def test_fault_23_ranges_that_cannot_be_kept_are_no_error(home: Path, photos: Path) -> None:
    first = hashed(photos)
    (kept,) = (home / "inference").glob("ranges-*.json")
    kept.unlink()
    kept.mkdir()
    assert hashed(photos).digests == first.digests
    (photos.parent / "file").write_bytes(b"")
    assert hashed(photos, photos.parent / "file").digests == first.digests


def test_fault_23_ranges_are_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "MOST_KEPT", 3)
    old, new = ({bytes([start + i]) * 32: Greys("16 bits", i) for i in range(2)} for start in (0, 7))
    ranges.store_ranges(old, {})
    assert ranges.stored_ranges() == old
    ranges.store_ranges(new, old)
    kept = ranges.stored_ranges()
    assert len(kept) == 3
    assert new.items() <= kept.items()
