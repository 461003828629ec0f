"""JPEG files decoded at a reduced size: bounds on pixel differences, and when the full size is decoded."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from pathlib import Path
from typing import Any

import leepfrog.images.decode as decode_module
import models_made as made
import numpy as np
import pytest
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.images.choices import INTERPOLATIONS
from leepfrog.images.dataset import ArrayImage, FileImage
from leepfrog.images.decode import decode, decode_reduced
from leepfrog.images.find import find_images
from leepfrog.images.preprocess import PreprocessSpec, resize_and_crop, resize_and_crop_reduced
from leepfrog.inference.model_lookup import find_models
from photos import SUBJECTS, photo, pieces
from PIL import Image

pytestmark = pytest.mark.full

SPEC = PreprocessSpec((224, 224), (256, 256))


def large(name: str, times: float, short_of_eights: int = 0, **saved: object) -> bytes:
    """Return an enlarged photograph with sensor noise as JPEG; sides are multiples of 8, less `short_of_eights`."""
    image = Image.fromarray(photo(name))
    image = image.resize(
        [8 * round(side * times / 8) - short_of_eights for side in image.size], Image.Resampling.BICUBIC
    )
    grain = np.random.default_rng(0).normal(0, 6, (image.height, image.width, 3))
    noisy = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    noisy.save(stream, "JPEG", **{"quality": 90, **saved})
    return stream.getvalue()


def both(content: bytes, spec: PreprocessSpec = SPEC) -> tuple[np.ndarray, np.ndarray, int]:
    (decoded,) = decode_reduced(content, [spec.reduction])
    whole = resize_and_crop(decode(content), spec).astype(int)
    return whole, resize_and_crop_reduced(decoded, spec).astype(int), decoded.times


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("times", [2.7, 5])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_stated_tolerance(name: str, times: float, interpolation: str) -> None:
    """The mean difference is below one gray level, and 99 % of the values differ by at most 6."""
    spec = PreprocessSpec((224, 224), (256, 256), interpolation=interpolation)
    whole, reduced, _ = both(large(name, times, short_of_eights=5), spec)
    apart = np.abs(whole - reduced)
    assert apart.mean() < 1
    assert np.quantile(apart, 0.99) <= 6


@pytest.mark.parametrize(("times", "expected"), [(1, 1), (2.9, 2), (5.8, 4), (9.7, 8)])
def test_how_much(times: float, expected: int) -> None:
    content = large("rocket", times)  # 640 x 427 pixels, resized to 256 at the shorter side
    assert both(content)[2] == expected
    # A reduced image has at least twice the requested size.
    (decoded,) = decode_reduced(content, [SPEC.reduction])
    assert min(decoded.image.size) >= 2 * 256 or expected == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("odd", [False, True])
def test_turned_files(orientation: int, odd: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = large("china", 3, 3 * odd, exif=exif)
    whole, reduced, times = both(content, PreprocessSpec((200, 160), (200, 160)))
    assert (times == 1) == (odd and orientation > 1)
    assert np.abs(whole - reduced).mean() < 1
    assert np.quantile(np.abs(whole - reduced), 0.99) <= 6


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_nearest_is_never_reduced(interpolation: str) -> None:
    spec = PreprocessSpec((32, 32), (32, 32), interpolation=interpolation)
    assert (spec.reduction(4000, 3000) == 1) == (interpolation == "nearest")


def test_other_formats_come_whole() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(stream, "PNG")
    (decoded,) = decode_reduced(stream.getvalue(), [SPEC.reduction])
    assert (decoded.image.size, decoded.times) == ((2000, 2000), 1)
    image = ArrayImage("held", np.zeros((2000, 2000, 3), np.uint8))
    digest, (loaded,) = image.load_reduced([SPEC.reduction])
    assert digest == image.digest()
    assert loaded.times == 1


def test_other_formats_are_decoded_once_for_all() -> None:
    stream = io.BytesIO()
    Image.fromarray(photo("cat")).save(stream, "PNG")
    specs = [PreprocessSpec((side, side), (side, side)) for side in (32, 64, 96)]
    results = decode_reduced(stream.getvalue(), [spec.reduction for spec in specs])
    assert len({id(result.image) for result in results}) == 1
    assert len(results) == 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours(mode: str) -> None:
    stream = io.BytesIO()
    Image.open(io.BytesIO(large("coffee", 5))).convert(mode).save(stream, "JPEG", quality=90)
    whole, reduced, times = both(stream.getvalue())
    assert times == 2
    assert np.abs(whole - reduced).mean() < 1


def test_each_size_is_decoded_once_and_does_not_depend_on_the_others(tmp_path: Path) -> None:
    small = PreprocessSpec((96, 96), (96, 96))
    path = tmp_path / "x.jpg"
    path.write_bytes(large("rocket", 5.8))
    _, together = FileImage(str(path)).load_reduced([SPEC.reduction, small.reduction, SPEC.reduction])
    assert [reduced.times for reduced in together] == [4, 8, 4]
    assert together[0] is together[2]
    for spec, decoded in zip((SPEC, small), together, strict=False):
        alone = decode_reduced(path.read_bytes(), [spec.reduction])[0]
        assert np.array_equal(resize_and_crop_reduced(alone, spec), resize_and_crop_reduced(decoded, spec))


def test_each_file_is_decoded_once_a_needed_size(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once per model: two of three models need an eighth of a JPEG file, one a half; PNG files stay whole."""
    (home / "models").mkdir(parents=True)
    for name, side, mean in (("small", 9, 0.0), ("shifted", 9, 0.5), ("large", 64, 0.0)):
        spec = dataclasses.replace(made.SPEC, resize_size=(side, side), mean=(mean, mean, mean))
        model = made.scoring(name=name, preprocess=spec)
        (home / "models" / f"{name}.onnx").write_bytes(model.SerializeToString())
    for subject in ("cat", "rocket"):
        (tmp_path / "photos" / subject).mkdir(parents=True)
        for i, piece in enumerate(pieces(subject, 4)):
            ending = "jpg" if i < 3 else "png"
            Image.fromarray(piece).resize((256, 256)).save(tmp_path / "photos" / subject / f"{i}.{ending}")
    sizes: list[tuple[int, int]] = []

    def counted(image: Image.Image, *others: Any) -> Image.Image:
        sizes.append(image.size)
        return to_rgb(image, *others)

    to_rgb = decode_module._to_rgb
    monkeypatch.setattr(decode_module, "_to_rgb", counted)

    def inferred() -> list[int]:
        models = find_models(["small", "shifted", "large"])
        return [model.n_inferred for model in infer(find_images(tmp_path / "photos"), models, RunContext(threads=1))]

    assert inferred() == [8, 8, 8]
    assert Counter(sizes) == {(32, 32): 6, (128, 128): 6, (256, 256): 2}
    sizes.clear()
    assert inferred() == [0, 0, 0]
    assert not sizes
