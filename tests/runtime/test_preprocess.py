"""Preprocessing compared with plain Pillow, torchvision and NumPy on real photographs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import LeepfrogError, ModelError
from leepfrog.images.choices import INTERPOLATIONS
from leepfrog.images.preprocess import PreprocessSpec, normalize, resize_and_crop
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

PHOTOS = {
    "astronaut": Image.fromarray(skimage.data.astronaut()),  # 512 x 512
    "china": Image.fromarray(load_sample_image("china.jpg")),  # 640 x 427
    "portrait": Image.fromarray(load_sample_image("flower.jpg").swapaxes(0, 1).copy()),  # 427 x 640
    "small": Image.fromarray(skimage.data.astronaut()[40:120, 180:291].copy()),  # 111 x 80, enlarged
}
SMOOTH = [name for name in INTERPOLATIONS if name not in ("nearest", "box")]
# (input_size, resize_size): common sizes of torchvision and timm, non-square sizes and sizes without cropping.
SIZES = [
    ((224, 224), (256, 256)),
    ((224, 224), (232, 232)),
    ((224, 224), (235, 235)),
    ((299, 299), (342, 342)),
    ((224, 224), (224, 224)),
    ((224, 160), (240, 200)),
    ((96, 192), (128, 192)),
    ((1, 1), (64, 64)),
]


def resized_size(size: tuple[int, int], spec: PreprocessSpec) -> tuple[int, int]:
    """Return (width, height) of the whole resized image."""
    (width, height), (to_height, to_width) = size, spec.resize_size
    if spec.resize_mode == "stretch":
        return to_width, to_height
    if height * to_width >= width * to_height:
        return to_width, height * to_width // width
    return width * to_height // height, to_height


def resized_then_cropped(image: Image.Image, spec: PreprocessSpec, first: str | None = None) -> NDArray[np.uint8]:
    """Reference implementation: resize the whole image (axis `first` first, if given), then crop the center."""
    (width, height), (to_width, to_height) = image.size, resized_size(image.size, spec)
    halfway = {None: (width, height), "across": (to_width, height), "down": (width, to_height)}[first]
    whole = image
    for size in (halfway, (to_width, to_height)):
        whole = whole.resize(size, Image.Resampling[spec.interpolation.upper()])
    top, left = round((to_height - spec.input_size[0]) / 2), round((to_width - spec.input_size[1]) / 2)
    return np.asarray(whole.crop((left, top, left + spec.input_size[1], top + spec.input_size[0])))


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    assert one.shape == other.shape
    return np.abs(one.astype(np.int64) - other)


@pytest.mark.parametrize("mode", ["cover", "stretch"])
@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("name", PHOTOS)
def test_the_crop_is_that_of_a_full_resize(name: str, interpolation: str, mode: Any) -> None:
    """Values differ by at most 2 levels, and by at most 0.02 on average. Observed: max 2 (cover: 1), mean up to 0.0102.

    Pillow stores the crop box in single precision. In each of its two passes, a filter weight may therefore round to a
    neighboring integer, and a sum close to a half to a neighboring level.
    """
    for input_size, resize_size in SIZES:
        spec = PreprocessSpec(input_size, resize_size, mode, interpolation)
        crop = resize_and_crop(PHOTOS[name], spec)
        assert crop.shape == (*input_size, 3)
        assert crop.dtype == np.uint8
        apart = difference(crop, resized_then_cropped(PHOTOS[name], spec))
        assert apart.max() <= 2
        assert apart.mean() <= 0.02


@pytest.mark.parametrize("mode", ["cover", "stretch"])
@pytest.mark.parametrize("name", PHOTOS)
def test_nearest_takes_the_pixel_below_the_sample_or_one_beside_it(name: str, mode: Any) -> None:
    """A sample point may fall exactly between two pixels; rounding then decides which one is used, in Pillow too."""
    source = np.pad(np.asarray(PHOTOS[name]), ((1, 1), (1, 1), (0, 0)), mode="edge")
    for input_size, resize_size in SIZES:
        spec = PreprocessSpec(input_size, resize_size, mode, "nearest")
        crop = resize_and_crop(PHOTOS[name], spec)
        positions = [sampled(PHOTOS[name].size, axis, spec) for axis in (0, 1)]
        beside = [
            (crop == source[np.ix_(positions[1] + dy, positions[0] + dx)]).all(axis=2)
            for dy in (0, 1, 2)
            for dx in (0, 1, 2)
        ]
        assert np.any(beside, axis=0).all()


def sampled(size: tuple[int, int], axis: int, spec: PreprocessSpec) -> NDArray[np.int64]:
    """Return the source columns (axis 0) or rows (axis 1) at the sample points of a crop."""
    whole, cut = resized_size(size, spec)[axis], spec.input_size[1 - axis]
    start = round((whole - cut) / 2)
    return np.floor((start + np.arange(cut) + 0.5) * size[axis] / whole).astype(np.int64)


@pytest.mark.parametrize("mode", ["cover", "stretch"])
@pytest.mark.parametrize("name", ["astronaut", "china", "portrait"])  # when enlarging, box equals nearest
def test_box_counts_a_pixel_on_the_edge_in_or_out(name: str, mode: Any) -> None:
    """A source pixel on the edge of a box may or may not be included. Observed: mean up to 0.028."""
    for input_size, resize_size in SIZES[:-1]:
        spec = PreprocessSpec(input_size, resize_size, mode, "box")
        apart = difference(resize_and_crop(PHOTOS[name], spec), resized_then_cropped(PHOTOS[name], spec))
        assert apart.mean() <= 0.05


@settings(max_examples=150)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.sampled_from(["cover", "stretch"]),
    st.sampled_from(SMOOTH),
)
def test_any_size_of_image_crop_and_margin(
    shape: tuple[int, int], size: tuple[int, int], margin: tuple[int, int], mode: Any, interpolation: str
) -> None:
    """Noise images of arbitrary shapes differ by at most 2 levels from one of the two orders of Pillow's passes.

    Since version 13, Pillow chooses the order by size. It matters for noise because the first pass clips overshoots.
    """
    rng = np.random.default_rng([*shape, *size, *margin])
    image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    spec = PreprocessSpec(size, (size[0] + margin[0], size[1] + margin[1]), mode, interpolation)
    crop = resize_and_crop(image, spec)
    assert min(difference(crop, resized_then_cropped(image, spec, first)).max() for first in ("across", "down")) <= 2


@pytest.mark.full
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", PHOTOS)
def test_torchvision_takes_the_same_crop(name: str, interpolation: str) -> None:
    """Resize and CenterCrop on PIL images, as torchvision evaluates its weights. Observed: max 1, mean up to 0.0101."""
    packages = importlib.import_module("leepfrog_exporter.networks.packages")
    try:
        packages.package("torchvision")
    except LeepfrogError as error:
        pytest.skip(str(error))
    transforms = importlib.import_module("torchvision.transforms")
    mode = transforms.InterpolationMode(interpolation)
    for crop, resize in [(224, 256), (224, 232), (224, 235), (299, 342), (224, 224), (384, 384), (97, 111)]:
        theirs = transforms.Compose([transforms.Resize(resize, interpolation=mode), transforms.CenterCrop(crop)])
        spec = PreprocessSpec((crop, crop), (resize, resize), interpolation=interpolation)
        apart = difference(resize_and_crop(PHOTOS[name], spec), np.asarray(theirs(PHOTOS[name])))
        assert apart.max() <= 1
        assert apart.mean() <= 0.02


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = PHOTOS["astronaut"]
    np.testing.assert_array_equal(resize_and_crop(image, PreprocessSpec((512, 512), (512, 512))), np.asarray(image))
    inner = resize_and_crop(image, PreprocessSpec((200, 100), (512, 512)))
    np.testing.assert_array_equal(inner, np.asarray(image)[156:356, 206:306])


def test_stretch_squeezes_the_whole_image_where_cover_cuts_its_sides() -> None:
    stripes = np.zeros((50, 200, 3), np.uint8)
    stripes[:, :50], stripes[:, 150:] = (255, 0, 0), (0, 0, 255)
    spec = PreprocessSpec((50, 50), (50, 50), "stretch", "nearest")
    stretched = resize_and_crop(Image.fromarray(stripes), spec)
    assert stretched[25, 0].tolist() == [255, 0, 0]
    assert stretched[25, 49].tolist() == [0, 0, 255]
    assert not resize_and_crop(Image.fromarray(stripes), PreprocessSpec((50, 50), (50, 50))).any()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_a_flat_image_stays_flat_whatever_its_shape(size: tuple[int, int], interpolation: str) -> None:
    crop = resize_and_crop(
        Image.new("RGB", size, (10, 20, 30)), PreprocessSpec((224, 224), (256, 256), "cover", interpolation)
    )
    np.testing.assert_array_equal(crop, np.broadcast_to(np.array([10, 20, 30], np.uint8), (224, 224, 3)))


def test_extreme_shapes_take_no_more_memory_than_others() -> None:
    """Resizing 1 x 5000 to cover 256 would take 256 x 1,280,000 pixels, a gigabyte; only the crop is computed."""
    program = """
import resource, sys
from PIL import Image
from leepfrog.images.preprocess import PreprocessSpec, resize_and_crop
spec = PreprocessSpec((224, 224), (256, 256), interpolation="bicubic")
resize_and_crop(Image.new("RGB", (640, 480)), spec)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in [(1, 5000), (5000, 1), (1, 60000)]:
    resize_and_crop(Image.new("RGB", size, "red"), spec)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sys.platform)
"""
    if sys.platform == "win32":
        pytest.skip("the resource module is available on Unix only")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    grown, platform = run.stdout.split()
    assert int(grown) / (1 << 20 if platform == "darwin" else 1 << 10) < 50  # MiB; macOS reports bytes, Linux KiB


@given(
    st.tuples(*[st.floats(-2, 2)] * 3),
    st.tuples(*[st.floats(0.003, 3)] * 3),
    st.sampled_from(["rgb", "bgr"]),
    st.integers(0, 3),
)
def test_normalize_is_the_formula(
    mean: tuple[float, float, float], std: tuple[float, float, float], order: Any, count: int
) -> None:
    crops = np.random.default_rng(count).integers(0, 256, (count, 5, 7, 3), dtype=np.uint8)
    spec = PreprocessSpec((5, 7), (5, 7), mean=mean, std=std, channel_order=order)
    seen = crops if order == "rgb" else crops[..., ::-1]
    expected = ((seen / 255.0 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    batch = normalize(crops, spec)
    assert batch.shape == (count, 3, 5, 7)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    np.testing.assert_array_equal(batch, expected.astype(np.float32))


def test_normalize_takes_every_level_and_numpy_views() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    crops = np.broadcast_to(levels, (1, 16, 16, 3))  # read-only and not contiguous
    spec = PreprocessSpec((16, 16), (16, 16), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        expected = ((np.arange(256) / 255 - mean) / std).astype(np.float32)
        np.testing.assert_array_equal(normalize(crops, spec)[0, channel].ravel(), expected)


@st.composite
def specs(draw: st.DrawFn) -> PreprocessSpec:
    resize = draw(st.tuples(st.integers(1, 4096), st.integers(1, 4096)))
    hints = get_type_hints(PreprocessSpec)
    number = st.floats(-3, 3) | st.integers(-3, 3)
    mode = draw(st.sampled_from(get_args(hints["resize_mode"])))
    return PreprocessSpec(
        input_size=(draw(st.integers(1, resize[0])), draw(st.integers(1, resize[1]))),
        resize_size=resize,
        resize_mode=mode,
        interpolation=draw(st.sampled_from(sorted(INTERPOLATIONS))),
        mean=draw(st.tuples(number, number, number)),
        std=draw(st.tuples(*[st.floats(1e-9, 3) | st.floats(-3, -1e-9)] * 3)),
        channel_order=draw(st.sampled_from(get_args(hints["channel_order"]))),
        pad_color=draw(st.tuples(*[st.integers(0, 255)] * 3)) if mode == "letterbox" else None,
    )


@given(specs())
def test_a_specification_survives_json(spec: PreprocessSpec) -> None:
    assert PreprocessSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec


@given(specs())
def test_what_a_specification_allows_can_be_carried_out(spec: PreprocessSpec) -> None:
    small = PreprocessSpec.from_dict(spec.as_dict() | {"input_size": [1, 1], "resize_size": [1, 1]})
    assert np.isfinite(normalize(np.full((1, 1, 1, 3), 255, np.uint8), small)).all()


def test_models_that_differ_in_normalization_alone_share_a_resize() -> None:
    plain = PreprocessSpec((224, 224), (256, 256))
    assert plain.geometry == PreprocessSpec((224, 224), (256, 256), std=(2, 2, 2), channel_order="bgr").geometry
    for other in ({"input_size": (192, 224)}, {"resize_mode": "stretch"}, {"interpolation": "bicubic"}):
        assert (
            plain.geometry != PreprocessSpec(**{"input_size": (224, 224), "resize_size": (256, 256), **other}).geometry
        )


GOOD = {"input_size": [224, 224], "resize_size": [256, 256]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "missing 2 required"),
        ({"input_size": [224, 224]}, "missing 1 required"),
        (None, "invalid preprocessing"),
        ([1, 2], "invalid preprocessing"),
        ({**GOOD, "crop_pct": 0.875}, "crop_pct"),
        ({**GOOD, "input_size": 224}, "invalid preprocessing"),
        ({**GOOD, "input_size": [224]}, "(height, width)"),
        ({**GOOD, "input_size": [224, 224, 3]}, "(height, width)"),
        ({"input_size": [224], "resize_size": [256]}, "(height, width)"),
        ({**GOOD, "resize_size": []}, "(height, width)"),
        ({**GOOD, "input_size": [224.0, 224.0]}, "whole numbers"),
        ({**GOOD, "input_size": ["224", "224"]}, "whole numbers"),
        ({**GOOD, "input_size": "ab"}, "whole numbers"),
        ({**GOOD, "input_size": [True, True]}, "whole numbers"),
        ({**GOOD, "input_size": [0, 224]}, "from 1 to 4096"),
        ({**GOOD, "input_size": [-1, 224]}, "from 1 to 4096"),
        ({**GOOD, "resize_size": [256, 10**9]}, "from 1 to 4096"),
        ({**GOOD, "resize_size": [256, 200]}, "smaller than input_size"),
        ({**GOOD, "resize_mode": "contain"}, "one of cover, stretch, letterbox"),
        ({**GOOD, "resize_mode": {}}, "one of cover, stretch, letterbox"),
        ({**GOOD, "interpolation": "cubic"}, "one of nearest, box, bilinear"),
        ({**GOOD, "interpolation": 3}, "one of nearest, box, bilinear"),
        ({**GOOD, "interpolation": {}}, "one of nearest, box, bilinear"),
        ({**GOOD, "channel_order": "RGB"}, "one of rgb, bgr"),
        ({**GOOD, "mean": [0.5, 0.5]}, "mean must be three"),
        ({**GOOD, "mean": 0.5}, "invalid preprocessing"),
        ({**GOOD, "mean": None}, "invalid preprocessing"),
        ({**GOOD, "mean": ["0.5", "0.5", "0.5"]}, "mean must be three"),
        ({**GOOD, "mean": "abc"}, "mean must be three"),
        ({**GOOD, "mean": [0, 0, float("nan")]}, "mean must be three"),
        ({**GOOD, "mean": [0, 0, float("inf")]}, "mean must be three"),
        ({**GOOD, "mean": [0, 0, 10**400]}, "mean must be three"),
        ({**GOOD, "mean": [0, 0, 1e300]}, "mean must be three"),
        ({**GOOD, "std": [1, 1, -float("inf")]}, "std must be three"),
        (
            {**GOOD, "mean": [124, 116, 104], "std": [58.4, 57.1, 57.4]},
            "--mean 0.4863,0.4549,0.4078 --std 0.229,0.2239",
        ),
        ({**GOOD, "std": [1, 1, 0]}, "std must not be 0"),
        ({**GOOD, "std": [1, 1, 5e-324]}, "std must not be 0"),
    ],
)
def test_specifications_out_of_a_strangers_file_are_refused_in_one_line(values: Any, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        PreprocessSpec.from_dict(values)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
