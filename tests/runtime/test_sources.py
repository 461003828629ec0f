"""Image sources: selection by location, sources of other packages, and images sent to other processes."""

from __future__ import annotations

import dataclasses
import os
import pickle
import types
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from leepfrog.errors import DataSetError, ImageError, MachineError
from leepfrog.images import sources
from leepfrog.images.dataset import EncodedImage, FileImage, ImageSet
from leepfrog.images.find import find_images, open_data
from leepfrog.images.sources.base import Source
from packages import other_package
from photos import folder_of_pieces, loaded, photo_set


@dataclasses.dataclass(frozen=True, slots=True)
class Slice(EncodedImage):
    """An image stored at an offset in a larger file."""

    path: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.path}@{self.offset}"

    def read(self) -> bytes:
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", 3)


@pytest.fixture
def glued(photos: Path) -> ImageSet:
    """The photographs, concatenated in a single file."""
    files = find_images(photos)
    path, offset, images = photos.parent / "photos.glued", 0, []
    with path.open("wb") as stream:
        for file in files.images:
            size = stream.write(Path(file.name).read_bytes())
            images.append(Slice(str(path), offset, size))
            offset += size
    return ImageSet.from_labels(str(path), images, [files.classes[label] for label in files.labels])


@pytest.fixture
def point() -> Iterator[types.ModuleType]:
    """Another package, `their`, whose `SOURCE` is registered as the entry point `theirs`."""
    with other_package(sources.SOURCES, sources.GROUP, "theirs", "SOURCE") as their:
        yield their


def test_another_package_s_source(glued: ImageSet, point: types.ModuleType, with_made: Path) -> None:
    point.SOURCE = Source("a .glued file", lambda where: where.endswith(".glued"), lambda where: glued)
    place = glued.name
    assert find_images(place) is glued
    assert find_images(Path(place)) is glued
    ranking = leepfrog.rank(place, ["made"])
    assert ranking.n_images == 9
    with pytest.raises(DataSetError, match=r"not a folder and not a \.glued file and not a \.csv table"):
        find_images(__file__)


def test_the_same_bytes_are_the_same_images_wherever_they_are(glued: ImageSet, photos: Path, with_made: Path) -> None:
    files = find_images(photos)
    assert [image.digest() for image in glued.images] == [image.digest() for image in files.images]
    first, second = leepfrog.rank(files, ["made"]), leepfrog.rank(glued, ["made"])
    assert first.models[0].scores["leep"] == second.models[0].scores["leep"]
    assert second.models[0].n_inferred == 0  # all outputs were cached


@pytest.mark.parametrize(("precedence", "opener"), [(0, "theirs"), (-1, "ours"), (-2, "ours")])
def test_where_two_accept_precedence_decides(
    precedence: int, opener: str, glued: ImageSet, point: types.ModuleType, photos: Path
) -> None:
    """A source for special folders takes precedence over the one for any folder; ties are broken by name."""
    point.SOURCE = Source("a special folder", os.path.isdir, lambda where: glued, precedence)
    assert (find_images(photos) is glued) == (opener == "theirs")


@pytest.mark.parametrize("what", [None, "a text", Source])
def test_another_package_s_broken_source(what: object, point: types.ModuleType, photos: Path) -> None:
    point.SOURCE = what
    with pytest.raises(MachineError, match="images theirs: their:SOURCE is not a leepfrog Source"):
        find_images(photos)
    del point.SOURCE
    with pytest.raises(MachineError, match=r"images theirs: their:SOURCE cannot be imported: .*no attribute 'SOURCE'"):
        find_images(photos)


def test_a_place_reaches_its_source_as_it_was_given(glued: ImageSet, point: types.ModuleType) -> None:
    """Conversion to a path would collapse double slashes in a URL."""
    opened: list[str] = []
    point.SOURCE = Source("a URL", lambda where: "://" in where, lambda where: opened.append(where) or glued)
    assert find_images("s3://bucket//photos/") is glued
    assert opened == ["s3://bucket//photos/"]


def test_open_data(photos: Path, glued: ImageSet) -> None:
    assert open_data(glued) is glued
    assert open_data(photos) == open_data(str(photos)) == find_images(photos)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["files", "slices", "arrays"])
def test_images_are_sent_to_other_processes(kind: str, photos: Path, glued: ImageSet) -> None:
    images = {"files": find_images(photos), "slices": glued, "arrays": photo_set(3)}[kind]
    copy = pickle.loads(pickle.dumps(images))
    assert copy == images
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there = list(pool.map(loaded, copy.images[:2]))
    for image, (digest, pixels) in zip(images.images, there, strict=False):
        here = loaded(image)
        assert digest == here[0] == image.digest()
        assert np.array_equal(pixels, here[1])


def test_a_white_is_sent_along(tmp_path: Path) -> None:
    image = FileImage(str(tmp_path / "x.png")).with_white(4095.0)
    assert pickle.loads(pickle.dumps(image)) == image
    assert pickle.loads(pickle.dumps(image)).white == 4095


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file"), "cannot be read: No such file"),
        (OSError("the server is gone"), "cannot be read: the server is gone"),
        (ValueError("embedded null byte"), "cannot be read: embedded null byte"),
        (ImageError("in an archive that is damaged"), "in an archive that is damaged"),
    ],
)
def test_what_read_raises_is_an_image_error(error: Exception, reason: str) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Gone(EncodedImage):
        name = "gone"

        def read(self) -> bytes:
            raise error

    for work in (Gone().digest, Gone().examine, lambda: loaded(Gone())):
        with pytest.raises(ImageError) as caught:
            work()
        assert str(caught.value) == reason
