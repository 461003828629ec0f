"""Image sets from files and arrays: digests, labels and invalid input."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import DataSetError, ImageError
from leepfrog.files import printable
from leepfrog.images.dataset import FileImage, ImageSet
from photos import loaded
from PIL import Image

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.jpg", "No such file"),
        ("folder.jpg", "Is a directory"),
        ("pipe.jpg", "not a regular file"),  # reading it would block forever
        ("loop.jpg", "symbolic links"),
        ("dangling.jpg", "No such file"),
        ("nul\0.jpg", "null byte"),
        ("empty.jpg", "0 bytes"),
        ("text.jpg", "not an image"),
    ],
)
def test_a_path_that_cannot_be_read_is_an_image_error(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("gone")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("words")
    with pytest.raises(ImageError, match=reason):
        loaded(FileImage(str(tmp_path / path)))


def test_the_digest_is_the_sha256_of_what_load_reads(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    image = FileImage(str(path))
    Image.fromarray(PIXELS).save(path)
    first = image.digest()
    assert first == hashlib.sha256(path.read_bytes()).digest()
    assert loaded(image)[0] == first
    Image.fromarray(255 - PIXELS).save(path)
    changed, pixels = loaded(image)
    assert changed == hashlib.sha256(path.read_bytes()).digest() != first
    np.testing.assert_array_equal(np.asarray(pixels), 255 - PIXELS)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, unique=True))
def test_labels_index_the_sorted_classes(pairs: list[tuple[str, str]]) -> None:
    images = [np.full((2, 2, 3), ord(name), np.uint8) for _, name in pairs]
    labels = [label for label, _ in pairs]
    if len(set(labels)) < 2:
        with pytest.raises(DataSetError, match="only one class"):
            ImageSet.from_arrays(images, labels)
        return
    image_set = ImageSet.from_arrays(images, labels)
    assert image_set.classes == tuple(sorted(set(labels)))
    assert [image_set.classes[i] for i in image_set.labels] == labels


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 0], ("0", "1")),
        (np.array([7, -3], np.int16), ("-3", "7")),
        (["b", "a"], ("a", "b")),
        (np.array(["b", "a"], object), ("a", "b")),
        ([True, False], ("False", "True")),
    ],
)
def test_arrays(labels: Any, classes: tuple[str, ...]) -> None:
    image_set = ImageSet.from_arrays([PIXELS, PIXELS[:, :, 0]], labels)
    assert image_set.classes == classes
    assert image_set.labels.tolist() == [1, 0]
    for image, expected in zip(image_set.images, (PIXELS, np.repeat(PIXELS[:, :, :1], 3, 2)), strict=True):
        digest, pixels = loaded(image)
        assert digest == image.digest()
        assert pixels.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(pixels), expected)
    assert len({image.digest() for image in image_set.images}) == 2


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        ([PIXELS], [0, 1], "1 images but 2 labels"),
        ([PIXELS, PIXELS], [[0], [1]], r"labels has shape \[2, 1\]"),
        ([PIXELS, PIXELS], [[0], [1, 2]], "labels is not an array"),
        ([PIXELS, PIXELS], [0.0, 1.0], "labels has dtype float64"),
        ([PIXELS, PIXELS], [None, "a"], "labels has dtype object"),
        ([PIXELS, PIXELS], 3, r"labels has shape \[\]"),
        ([PIXELS, PIXELS], [1, 1], "only one class with images"),
        ([], [], "no classes"),
        ([PIXELS, PIXELS / 255], [0, 1], "image 1 is float64"),
        ([PIXELS, PIXELS.astype(np.int64)], [0, 1], "image 1 is int64"),
        ([PIXELS, PIXELS[0, 0]], [0, 1], r"image 1 is uint8 \[3\]"),
        ([PIXELS, np.zeros((3, 8, 8), np.uint8)], [0, 1], r"uint8 \[3, 8, 8\]"),
        ([np.zeros((4, 4, 4), np.uint8), PIXELS], [0, 1], r"image 0 is uint8 \[4, 4, 4\]"),
        ([PIXELS, PIXELS[:0]], [0, 1], r"image 1 is uint8 \[0, 3, 3\]"),
    ],
)
def test_arrays_that_are_no_labelled_images(images: list[Any], labels: Any, reason: str) -> None:
    with pytest.raises(DataSetError, match=reason):
        ImageSet.from_arrays(images, labels)


def test_the_digest_of_an_array_knows_its_shape() -> None:
    flat = np.zeros((2, 8, 3), np.uint8)
    image_set = ImageSet.from_arrays([flat, flat.reshape(4, 4, 3), flat.copy()], [0, 1, 1])
    first, second, third = (image.digest() for image in image_set.images)
    assert first == third == hashlib.sha256(b"array (2, 8, 3)" + flat.tobytes()).digest()
    assert first != second


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é.jpg", "plain é.jpg"),
        ("a\nb\x1b[31m.jpg", "a\\nb\\x1b[31m.jpg"),
        (os.fsdecode(b"\xff.jpg"), "\\xff.jpg"),
    ],
)
def test_names_in_messages_stay_on_one_line(name: str, shown: str) -> None:
    assert printable(name) == shown
