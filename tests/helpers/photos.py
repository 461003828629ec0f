"""Photographs shipped with scikit-image and scikit-learn, and labelled folders of crops of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from leepfrog.images.dataset import Digest, ImageSet, LabelledImage
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

Pixels = NDArray[np.uint8]

# Per photograph: k, and words of ImageNet class names one of which must be among the top k predictions. (scikit-learn's
# flower is a dahlia, which is not one of ImageNet's 1,000 classes.)
SUBJECTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "cat": (1, ("cat", "tabby")),
    "coffee": (1, ("espresso",)),
    "china": (1, ("palace",)),
    "rocket": (3, ("missile", "projectile", "space shuttle")),
}


def photo(name: str) -> Pixels:
    """Return a photograph, [H, W, 3] uint8."""
    if name == "china":
        return np.asarray(load_sample_image("china.jpg"))
    load = {"cat": skimage.data.chelsea, "coffee": skimage.data.coffee, "rocket": skimage.data.rocket}
    return np.asarray(load[name]())


def pieces(name: str, count: int, seed: int = 0) -> list[Pixels]:
    """Return random square crops of a photograph."""
    rng = np.random.default_rng(seed)
    whole = photo(name)
    height, width, _ = whole.shape
    cut = []
    for _ in range(count):
        side = int(rng.integers(min(height, width) // 2, min(height, width)))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        cut.append(np.ascontiguousarray(whole[top : top + side, left : left + side]))
    return cut


def folder_of_pieces(folder: Path, count: int = 8, names: tuple[str, ...] = ("cat", "coffee", "rocket")) -> Path:
    """Create an image folder of JPEG files with one class per photograph."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for i, piece in enumerate(pieces(name, count)):
            Image.fromarray(piece).save(folder / name / f"{i:02}.jpg", quality=92)
    return folder


def loaded(image: LabelledImage) -> tuple[Digest, Image.Image]:
    """Return the hash of an image and the image at full resolution."""
    digest, (decoded,) = image.load_reduced([lambda width, height: 1])
    return digest, decoded.image


def photo_set(n: int, subjects: tuple[str, ...] = ("cat", "china", "rocket")) -> ImageSet:
    """Return an image set of n crops per photograph, with one class per photograph."""
    images = [piece for subject in subjects for piece in pieces(subject, n)]
    return ImageSet.from_arrays(images, [subject for subject in subjects for _ in range(n)])
