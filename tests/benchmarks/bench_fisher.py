"""Task embeddings: backward passes against torch, a whole embedding against the reference recipe, the estimators.

Run: PYTHONPATH=tests python tests/benchmarks/bench_fisher.py [IMAGES] [ROUNDS]

MobileNetV2 with real weights at 224 x 224, on crops of photographs shipped with scikit-image and scikit-learn.

probe      squared gradients of every filter per image, by onnxruntime and Numba with one lane per core
torch      the same by autograd on all cores, one image at a time, with the mean square per filter
embedding  `leepfrog.embed` from files without a cache: decoding, inference, head, backward passes
recipe     as in the code of the TASK2VEC authors: 10,000 samples backpropagated in batches (timed on 64 samples and
           scaled; their 10 epochs of fitting the head are not included)
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import leepfrog
import numpy as np
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from leepfrog.inference.device import available_threads
from leepfrog.inference.model_lookup import find_models
from leepfrog.task2vec.choices import ESTIMATORS
from leepfrog.task2vec.embed import find_probe
from leepfrog.task2vec.session import ProbeSession
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.gradient.probe import export_probe
from leepfrog_exporter.networks.packages import package
from material import empty_home, photographs, prepared, torch_network
from paired import Row, compare, facts, rows_of, table

NAME = "mobilenet_v2"
N_TIMED = 16
RECIPE_SAMPLES, RECIPE_BATCH, RECIPE_TIMED = 10_000, 32, 64
ROUNDS = 5


def rows(folder: Path, rounds: int) -> list[Row]:
    export(f"zoo:{NAME}", ExportOptions())
    (model,) = find_models([NAME])
    probe = find_probe(export_probe(model).path)
    images = find_images(folder)
    batch = prepared(images.images[:RECIPE_TIMED], model.metadata.preprocess)
    some = batch[:N_TIMED]
    sent = np.random.default_rng(0).standard_normal((len(some), probe.metadata.n_features)).astype(np.float32)
    passes = f"backward passes of {NAME}, {len(some)} images", "torch, one image at a time"
    contestants = {passes[0]: in_lanes(ProbeSession(probe, "cpu", 1), some, sent), passes[1]: by_autograd(some, sent)}
    found = rows_of(compare(contestants, rounds), [passes])

    whole = (
        f"`embed` of {len(images)} images, nothing cached",
        f"the reference recipe's {RECIPE_SAMPLES} samples in torch",
    )
    seconds = compare({whole[0]: whole_embedding(images), whole[1]: recipe(batch)}, max(2, rounds // 2))
    seconds[whole[1]] = [RECIPE_SAMPLES / len(batch) * each for each in seconds[whole[1]]]
    return found + rows_of(seconds, [whole])


def main(n_images: int = 500, rounds: int = ROUNDS) -> None:
    with photographs(n_images) as folder:
        print(*facts(), "", table(rows(folder, rounds)), sep="\n")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"peak memory of this process, torch included: {peak:.0f} MB")
        print("\nestimators on the same images: noise (expected distance to a repetition), and per 100 backward passes")
        images = find_images(folder)
        some = ImageSet(images.name, images.classes, images.images[::4], images.labels[::4])
        for estimator in ESTIMATORS:
            found = leepfrog.embed(some, NAME, estimator=estimator, tolerance=0)
            n_passes = found.made["n_images"] * (len(some.classes) if estimator == "exact" else 1)
            print(f"{estimator:10} {found.self_distance:8.4f} {found.self_distance * n_passes / 100:8.4f}")


def in_lanes(session: ProbeSession, batch: np.ndarray, sent: np.ndarray) -> Callable[[], None]:
    """Run the probe as `embed` does: one image per run, one run per core in parallel."""

    def run() -> None:
        with ThreadPoolExecutor(available_threads()) as pool:
            list(pool.map(lambda i: session.run(batch[i : i + 1], sent[i : i + 1]), range(len(batch))))

    return run


def by_autograd(batch: np.ndarray, sent: np.ndarray) -> Callable[[], None]:
    torch = package("torch")
    torch.set_num_threads(available_threads())
    network = torch_network(NAME)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    seen = {}
    network.classifier.register_forward_pre_hook(lambda _module, inputs: seen.update(features=inputs[0]))

    def run() -> None:
        for image, cotangent in zip(batch, sent, strict=True):
            network.zero_grad()
            network(torch.from_numpy(image[None]))
            (seen["features"] * torch.from_numpy(cotangent)).sum().backward()
            for layer in layers:
                layer.weight.grad.square().flatten(1).mean(dim=1)

    return run


def recipe(batch: np.ndarray) -> Callable[[], None]:
    """Per batch, run the network, sample labels, and square the gradient of the loss."""
    torch = package("torch")
    network = torch_network(NAME)
    parameters = [p for p in network.parameters() if p.ndim == 4]

    def run() -> None:
        for i in range(0, len(batch), RECIPE_BATCH):
            network.zero_grad()
            logits = network(torch.from_numpy(batch[i : i + RECIPE_BATCH]))
            labels = torch.multinomial(logits.softmax(dim=1), 1)[:, 0]
            torch.nn.functional.cross_entropy(logits, labels).backward()
            for parameter in parameters:
                parameter.grad.square()

    return run


def whole_embedding(images: ImageSet) -> Callable[[], None]:
    path = find_models([NAME])[0].path

    def run() -> None:
        with empty_home():
            leepfrog.embed(images, path, tolerance=0)

    return run


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
