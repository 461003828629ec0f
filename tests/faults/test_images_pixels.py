"""Decoded pixels of HEIC images, of deep gray images and of letterboxed images."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import leepfrog
import models_made as made
import numpy as np
import pillow_heif
import pytest
import tally
from commands import Here
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import ModelError
from leepfrog.images.choices import INTERPOLATIONS
from leepfrog.images.decode import decode, decode_reduced
from leepfrog.images.preprocess import (
    PreprocessSpec,
    normalize,
    resize_and_crop,
    resize_and_crop_reduced,
)
from leepfrog.inference.cache import cache_key
from leepfrog.inference.model import ModelFile
from photos import folder_of_pieces, photo, pieces
from PIL import Image, ImageOps

pytestmark = pytest.mark.full

CAT = Image.fromarray(photo("cat")).resize((160, 96))
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def heic(*images: Image.Image, primary: int = 0, **options: Any) -> bytes:
    file = pillow_heif.HeifFile()
    for image in images:
        file.add_from_pillow(image)
    stream = io.BytesIO()
    file.save(stream, quality=95, primary_index=primary, **options)
    return stream.getvalue()


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference, in levels of 0..255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one).astype(int) - np.asarray(other)).mean())


# --- HEIC ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fault_12_heic_is_turned_upright_exactly_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    pillow_heif.encode("RGB", CAT.size, CAT.tobytes(), stream, quality=95, exif=exif.tobytes())
    content = stream.getvalue()
    assert orientation == 1 or b"irot" in content or b"imir" in content  # transformed as in files from phones
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(CAT, "PNG", exif=exif.tobytes()))))
    decoded = decode(content)
    assert decoded.mode == "RGB"
    assert apart(decoded, upright.convert("RGB")) < 4  # any other orientation differs by over 30


def test_fault_12_heic_of_ten_bits_alpha_and_several_images() -> None:
    deep = (np.asarray(CAT).astype(np.uint16) << 8).tobytes()
    stream = io.BytesIO()
    pillow_heif.encode("RGB;16", CAT.size, deep, stream, quality=95)
    assert apart(decode(stream.getvalue()), CAT) < 4
    with_alpha = CAT.copy()
    with_alpha.putalpha(Image.linear_gradient("L").resize(CAT.size))
    white = Image.new("RGBA", CAT.size, "white")
    assert apart(decode(heic(with_alpha)), Image.alpha_composite(white, with_alpha).convert("RGB")) < 4
    assert apart(decode(heic(ImageOps.invert(CAT), CAT, primary=1)), CAT) < 4
    assert apart(decode(heic(CAT.convert("L"))), CAT.convert("L").convert("RGB")) < 4


def test_fault_12_heic_files_are_ranked(with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    for path in list((photos / "cat").iterdir()):
        path.with_suffix(".HEIC").write_bytes(heic(Image.open(path)))
        path.unlink()
    (photos / "rocket" / "broken.heif").write_bytes(heic(CAT)[:500])
    (photos / "rocket" / "really.jpg").write_bytes(heic(CAT))
    done = here.call("rank", "photos", "-m", "made", "--format", "json")
    done.check(0)
    assert done.json["classes"] == {"cat": 2, "coffee": 2, "rocket": 3}
    (skipped,) = done.json["receipt"]["data"]["skipped"]
    assert skipped["name"] == "photos/rocket/broken.heif"
    assert "libheif" in done.json["receipt"]["environment"]["heif"]


def test_fault_12_pillow_s_own_list_of_formats_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(heic(CAT))
    program = """
import sys
from PIL import Image
from leepfrog.images.dataset import FileImage
print(FileImage(sys.argv[1]).load_reduced([lambda *_: 1])[1][0].size, "HEIF" in Image.OPEN)
"""
    run = [sys.executable, "-c", program, str(tmp_path / "x.heic")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "(160, 96) False\n"


WITHOUT = """
import sys
sys.modules["pillow_heif"] = None
from leepfrog.cli.main import main
sys.argv = ["leepfrog", *sys.argv[1:]]
main()
"""


def test_fault_12_without_the_extra_heic_files_are_counted_and_named(with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    for name in ("cat/a.HEIC", "cat/b.heic", "rocket/c.heif", "rocket/really.jpg"):
        (photos / name).write_bytes(heic(CAT))
    only = here.folder / "only"
    for name in ("a", "b"):
        (only / name).mkdir(parents=True)
        (only / name / "x.heic").write_bytes(heic(CAT))

    def rank(folder: str) -> tuple[int, str]:
        run = [sys.executable, "-c", WITHOUT, "rank", folder, "-m", "made"]
        done = subprocess.run(run, cwd=here.folder, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    code, output = rank("photos")
    assert code == 0, output
    assert "note: 3 HEIC image(s) (.heic, .heif) were not read: cat 2, rocket 1; pip install pillow-heif" in output
    assert "skipped: photos/rocket/really.jpg: HEIC support is not installed; run pip install pillow-heif" in output
    code, output = rank("only")
    assert code == 3
    assert "no classes with images in them; 2 HEIC image(s) (.heic) were not read: a 1, b 1; pip install" in output


# --- Grey images with more than 8 bits -------------------------------------------------------------------------------

GREYS = {name: [np.asarray(Image.fromarray(p).convert("L")) for p in pieces(name, 4)] for name in ("cat", "rocket")}


def grey_set(folder: Path, kind: str) -> Path:
    """Write the same photographs as gray images of the given depth."""
    for name, images in GREYS.items():
        (folder / name).mkdir(parents=True)
        for i, grey in enumerate(images):
            path = folder / name / str(i)
            match kind:
                case "8 bits":
                    Image.fromarray(grey).save(f"{path}.png")
                case "8 of 32":
                    Image.fromarray(grey.astype(np.int32)).save(f"{path}.tif")
                case "8 of 16":
                    Image.fromarray(grey.astype(np.uint16)).save(f"{path}.png")
                case "12 of 16":
                    Image.fromarray((grey * 16.0 + grey / 16).astype(np.uint16)).save(f"{path}.png")
                case "12 of 16, tiff":
                    Image.fromarray((grey * 16.0 + grey / 16).astype(np.uint16)).save(f"{path}.tif")
                case "16 bits":
                    Image.fromarray(grey.astype(np.uint16) * 257).save(f"{path}.png")
                case "0 is white":
                    deep = Image.fromarray(65535 - grey.astype(np.uint16) * 257)
                    deep.save(f"{path}.tif", tiffinfo={262: 0})
                case "12 of 16, 0 is white":
                    deep = Image.fromarray(4095 - (grey * 16.0 + grey / 16).astype(np.uint16))
                    deep.save(f"{path}.tif", tiffinfo={262: 0})
                case "floats to 255":
                    Image.fromarray(grey.astype(np.float32)).save(f"{path}.tif")
    return folder


def score(folder: Path, models: Path) -> tuple[float, tuple[str, ...]]:
    ranking = leepfrog.rank(folder, [models / "made.onnx"])
    assert ranking.n_images == 8
    return ranking.models[0].scores["leep"].value, ranking.notes


@pytest.mark.parametrize(
    ("kind", "white"),
    [
        ("8 of 32", 255), ("8 of 16", 255), ("12 of 16", 4095), ("12 of 16, tiff", 4095), ("16 bits", None),
        ("0 is white", None), ("12 of 16, 0 is white", 4095), ("floats to 255", None),
    ],
)  # fmt: skip
def test_fault_40_greys_of_any_depth_score_the_same(
    kind: str, white: int | None, with_made: Path, tmp_path: Path
) -> None:
    expected, _ = score(grey_set(tmp_path / "plain", "8 bits"), with_made / "models")
    value, notes = score(grey_set(tmp_path / "deep", kind), with_made / "models")
    assert value == pytest.approx(expected, abs=2e-3)
    assert [f"{white} was taken as white for all of them" in note for note in notes] == ([True] if white else [])
    again, _ = score(tmp_path / "deep", with_made / "models")  # from the cache
    assert again == value


def test_fault_40_a_dark_image_stays_dark_and_the_cache_keeps_whites_apart(with_made: Path, tmp_path: Path) -> None:
    """White is determined over the set: a brighter image changes the scaling of all others."""
    folder = tmp_path / "deep"
    for name, top in (("a", 200), ("b", 4000)):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            ramp = np.linspace(0, top - i, 64).reshape(8, 8).astype(np.uint16)
            Image.fromarray(ramp).save(folder / name / f"{i}.png")
    first = leepfrog.rank(folder, [with_made / "models" / "made.onnx"])
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(folder / "b" / "0.png")
    second = leepfrog.rank(folder, [with_made / "models" / "made.onnx"])
    assert any("4095 was taken as white" in note for note in first.notes)
    assert any("5 of 6 image(s) with gray values stored as 16 bits use less than a quarter of the range 0.." in note
               and "b/0.png reaches 60000" in note for note in second.notes)  # fmt: skip
    assert first.receipt.data is not None
    assert second.receipt.data is not None
    assert first.receipt.data.classes["a"].sha256 != second.receipt.data.classes["a"].sha256


def test_fault_40_one_image_by_itself() -> None:
    ramp = np.arange(256).reshape(16, 16)
    for deep in (ramp.astype(np.int32), ramp.astype(np.float32)):
        assert np.asarray(decode(encoded(Image.fromarray(deep), "TIFF")))[..., 0].tolist() == ramp.tolist()
    inverted = encoded(Image.fromarray((ramp * 257).astype(np.uint16)), "TIFF", tiffinfo={262: 0})
    assert np.asarray(decode(inverted))[..., 0].tolist() == (255 - ramp).tolist()


# --- Letterbox -------------------------------------------------------------------------------------------------------

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(SIZES, SIZES, st.sampled_from(sorted(INTERPOLATIONS)), st.tuples(*[st.integers(0, 255)] * 3))
def test_fault_48_letterbox_is_what_pillow_pads(
    shape: tuple[int, int], size: tuple[int, int], interpolation: str, color: tuple[int, int, int]
) -> None:
    tally.INPUTS["letterboxed"] += 1
    pixels = np.random.default_rng([*shape, *size]).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    spec = PreprocessSpec(size, size, "letterbox", interpolation, pad_color=color)
    if min(ImageOps.contain(Image.new("1", image.size), size[::-1]).size) == 0:
        return  # Pillow would shrink a side to 0 pixels
    expected = np.asarray(ImageOps.pad(image, size[::-1], Image.Resampling[interpolation.upper()], color))
    np.testing.assert_array_equal(resize_and_crop(image, spec), expected)


def test_fault_48_letterbox_of_reduced_photographs_and_crops() -> None:
    photograph = Image.fromarray(photo("china"))
    spec = PreprocessSpec((96, 96), (96, 96), "letterbox", pad_color=(114, 114, 114))
    content = encoded(photograph, "JPEG", quality=95)
    (decoded,) = decode_reduced(content, [spec.reduction])
    assert decoded.times == 2
    result = resize_and_crop_reduced(decoded, spec).astype(int)
    whole = np.asarray(ImageOps.pad(decode(content), (96, 96), Image.Resampling.BILINEAR, (114, 114, 114)))
    assert np.abs(result - whole).mean() < 1
    assert (result[[0, -1]] == 114).all()
    cropped = PreprocessSpec((60, 80), (96, 96), "letterbox", pad_color=(114, 114, 114))
    np.testing.assert_array_equal(resize_and_crop(decode(content), cropped), whole[18:78, 8:88])


def test_fault_48_the_colour_of_the_margins_is_stated_in_the_image_s_order() -> None:
    spec = PreprocessSpec((8, 8), (8, 8), "letterbox", channel_order="bgr", pad_color=(255, 0, 0))
    batch = normalize(resize_and_crop(Image.new("RGB", (8, 2)), spec)[None], spec)
    assert batch[0, :, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "values",
    [{"resize_mode": "letterbox"}, {"pad_color": [0, 0, 0]}]
    + [
        {"resize_mode": "letterbox", "pad_color": c} for c in ([0, 0], [0, 0, 256], [0, 0, -1], [0.5] * 3, "abc", 7, {})
    ],
)
def test_fault_48_letterboxes_of_strangers_are_checked(values: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        PreprocessSpec.from_dict({"input_size": [8, 8], "resize_size": [8, 8], **values})


def test_fault_48_old_models_keep_their_cache_keys(tmp_path: Path) -> None:
    old = made.SPEC.as_dict()
    assert "pad_color" not in old
    assert PreprocessSpec.from_dict(old) == made.SPEC
    boxed = PreprocessSpec((8, 8), (8, 8), "letterbox", pad_color=(1, 2, 3))
    assert PreprocessSpec.from_dict(json.loads(json.dumps(boxed.as_dict()))) == boxed
    keys = set()
    for i, color in enumerate(((1, 2, 3), (3, 2, 1))):
        spec = PreprocessSpec((8, 8), (8, 8), "letterbox", pad_color=color)
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(made.scoring(preprocess=spec).SerializeToString())
        keys.add(cache_key(ModelFile.read(path), "cpu"))
    assert len(keys) == 2


def test_fault_48_letterbox_is_exported(home: Path, here: Here) -> None:
    made.classifier().save(here.folder / "x.onnx")
    export = ["export", "onnx:x.onnx", "--preprocess", "unit", "--resize-mode", "letterbox"]
    here.call(*export).check(2, "--resize-mode letterbox needs --pad-color")
    here.call(*export, "--pad-color", "300").check(2, "--pad-color '300': expected whole numbers from 0 to 255")
    here.call(*export[:4], "--pad-color", "0").check(3, "letterbox requires a pad_color")
    here.call(*export, "--pad-color", "114").check(0)
    spec = ModelFile.read(home / "models" / "x.onnx").metadata.preprocess
    assert (spec.resize_mode, spec.pad_color) == ("letterbox", (114, 114, 114))
    assert spec.input_size == spec.resize_size == (made.SIDE, made.SIDE)
    folder_of_pieces(here.folder / "photos", count=2)
    here.call("rank", "photos", "-m", "x").check(0, "6 images of 3 classes")
