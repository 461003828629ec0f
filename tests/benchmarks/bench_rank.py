"""`rank` end to end against decoding alone, onnxruntime alone, and torch.

Run: PYTHONPATH=tests python tests/benchmarks/bench_rank.py [IMAGES] [ROUNDS]

The four starter models on photographs, from files. Unless noted otherwise, nothing is cached: `rank` reads and hashes
the files, decodes, resizes, runs the models, writes the cache, computes ridge, LogME, k-NN, LEEP and leave-one-out LEEP
with intervals, and measures the cost of each model in a fresh process. Costs are measured once per machine; "costs
kept" is a run on other images that reuses them.

If inference uses all cores, decoding cannot overlap with it; the lower bound is then the sum of the two.

decoding   the stream that `rank` uses, with no-op jobs: read, decode, resize and normalize for all models
inference  onnxruntime on preprocessed arrays, with the layout that is fastest on a few images: one run on all cores
           with batches of 1 or 16, or one run per core with batches of 4
torch      as in the scripts of other transferability packages: per model, a DataLoader over the files with one worker
           per core, batches of 32, and LEEP in plain NumPy from the softmax, for the same networks and weights
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import leepfrog
import numpy as np
import onnxruntime
import plain
from leepfrog.costs.places.here import measure, store_cost
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import hash_images
from leepfrog.execution.pipeline import Lanes, stream
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.device import available_threads
from leepfrog.inference.model import ModelFile
from leepfrog.ranking.result import Ranking
from leepfrog_exporter.networks.packages import package
from material import empty_home, photographs, prepared, starters, torch_network
from paired import Row, compare, facts, rows_of, table

ROUNDS = 3
# Number of preprocessed images kept in memory; longer runs cycle through them.
READY = 128
FEW = 8


def rows(folder: Path, rounds: int) -> list[Row]:
    models, images = starters(), find_images(folder)
    n = f"{len(images)} images"
    cold, costs_kept, leep_only = (
        f"`rank`, {len(models)} models x {n}, nothing cached",
        "`rank`, costs kept",
        '`rank` by="leep_loo", costs kept',
    )
    one = f"`rank` of {models[0].name}, {n}, nothing cached"
    decoding, inference, torch = "decoding alone", "inference alone", "torch loop and NumPy LEEP"
    slower, both = "the slower of decoding and inference", "decoding, then inference"
    for_one = [f"{what} for {models[0].name}" for what in (decoding, inference)]
    with empty_home():
        costs = [measure(model, "cpu", available_threads(), 0) for model in models]
    layout = fastest_layout(models, images, rounds)

    def contestants(folder: Path) -> dict[str, Callable[[], object]]:
        images, paths = find_images(folder), [model.path for model in models]

        def ranked(*, by: str = "combined", n_models: int = len(models), kept: bool = False) -> Ranking:
            with empty_home():
                for model, cost in zip(models, costs, strict=True) if kept else ():
                    store_cost(cost, model, "cpu", print)
                return leepfrog.rank(folder, paths[:n_models], by=by)

        return {
            cold: ranked,
            decoding: decode_alone(models, images),
            inference: infer_alone(models, images, layout),
            torch: torch_loop(models, folder),
            costs_kept: lambda: ranked(kept=True),
            leep_only: lambda: ranked(kept=True, by="leep_loo"),
            one: lambda: ranked(n_models=1),
            for_one[0]: decode_alone(models[:1], images),
            for_one[1]: infer_alone(models[:1], images, layout),
        }

    with photographs(FEW, folder) as few:
        warm_up = contestants(few)
        check_agreement(models, warm_up[costs_kept](), warm_up[torch]())
        for name in (leep_only, decoding, inference):
            warm_up[name]()
    whole = contestants(folder)
    whole[costs_kept]()  # the first run of this size has to allocate memory from the system
    seconds = compare(whole, rounds, warm_up=False)
    seconds[slower] = list(map(max, seconds[decoding], seconds[inference]))
    seconds[both] = list(map(sum, zip(seconds[decoding], seconds[inference], strict=True)))
    slower_for_one = f"{slower} for it"
    seconds[slower_for_one] = list(map(max, *(seconds[name] for name in for_one)))
    pairs = [(cold, base) for base in (decoding, inference, slower, torch)]
    pairs += [(what, base) for what in (costs_kept, leep_only) for base in (slower, both, torch)]
    pairs += [(cold, costs_kept), (costs_kept, leep_only), (one, slower_for_one)]
    return rows_of(seconds, pairs)


class Decoding:
    """Job of a stream that ignores its batches."""

    def __init__(self, spec: PreprocessSpec, n_images: int) -> None:
        self.spec, self.needed = spec, range(n_images)

    def run(self, positions: Sequence[int], batch: np.ndarray) -> None:
        pass


def decode_alone(models: list[ModelFile], images: ImageSet) -> Callable[[], object]:
    threads = available_threads()
    digests = dict(enumerate(hash_images(images, RunContext(strict=True)).digests))
    encoded = dict(enumerate(images.images))
    jobs = [Decoding(model.metadata.preprocess, len(images)) for model in models]
    return lambda: list(stream(jobs, encoded, digests, Lanes.plan("cpu", threads), threads))


class Layout(NamedTuple):
    """Batch size, and number of parallel runs, which share the cores evenly."""

    batch_size: int
    lanes: int


def fastest_layout(models: list[ModelFile], images: ImageSet, rounds: int) -> Layout:
    few = ImageSet(images.name, images.classes, images.images[: 4 * FEW], images.labels[: 4 * FEW])
    layouts = [Layout(1, 1), Layout(16, 1), Layout(4, available_threads())]
    seconds = compare({str(layout): infer_alone(models, few, layout) for layout in layouts}, min(3, rounds))
    return min(layouts, key=lambda layout: np.median(seconds[str(layout)]))


def infer_alone(models: list[ModelFile], images: ImageSet, layout: Layout) -> Callable[[], object]:
    size, lanes = layout
    options = onnxruntime.SessionOptions()
    if lanes > 1:
        options.intra_op_num_threads = 1
    specs = {model.metadata.preprocess for model in models}
    ready = {spec: prepared(images.images[:READY], spec) for spec in specs}
    sessions = [onnxruntime.InferenceSession(m.path, options, providers=["CPUExecutionProvider"]) for m in models]

    def infer(job: tuple[int, int]) -> None:
        i, at = job
        first = at % READY
        batch = ready[models[i].metadata.preprocess][first : first + min(size, len(images) - at)]
        sessions[i].run(["probs", "features"], {"image": batch})

    jobs = [(i, at) for i in range(len(models)) for at in range(0, len(images), size)]

    def run() -> None:
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(infer, jobs))

    return run


def torch_loop(models: list[ModelFile], folder: Path) -> Callable[[], list[float]]:
    torch, transforms = package("torch"), package("torchvision").transforms
    datasets = package("torchvision").datasets
    networks = []
    for model in models:
        spec = model.metadata.preprocess
        steps = [
            transforms.Resize(spec.resize_size[0], transforms.InterpolationMode(spec.interpolation)),
            transforms.CenterCrop(spec.input_size),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
        files = datasets.ImageFolder(folder, transforms.Compose(steps))
        loader = torch.utils.data.DataLoader(files, batch_size=32, num_workers=available_threads())
        networks.append((torch_network(model.name), loader))

    def run() -> list[float]:
        found = []
        for network, loader in networks:
            probs, labels = [], []
            with torch.inference_mode():
                for batch, of in loader:
                    probs.append(network(batch).softmax(dim=1))
                    labels.append(of)
            found.append(plain.leep(torch.cat(probs).numpy(), torch.cat(labels).numpy()))
        return found

    return run


def check_agreement(models: list[ModelFile], ranking: Ranking, leeps: list[float]) -> None:
    """Check that both agree; small differences arise because leepfrog decodes large JPEG files at half size."""
    ours = {model.name: model.scores["leep"].value for model in ranking.models}
    for model, theirs in zip(models, leeps, strict=True):
        assert abs(ours[model.name] - theirs) < 0.02, (model.name, ours[model.name], theirs)


if __name__ == "__main__":
    n_images, n_rounds = [*map(int, sys.argv[1:]), *(200, ROUNDS)[len(sys.argv) - 1 :]]
    with photographs(n_images) as made:
        print(*facts(), "", table(rows(made, n_rounds)), sep="\n")
