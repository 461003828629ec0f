"""Computation and storage of the features of every extractor on every set."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from leepfrog.files import write_whole
from leepfrog.images.preprocess import normalize, resize_and_crop
from PIL import Image
from studies.default_order.networks import Trunk
from studies.default_order.sets import LabelledPixels

BATCH = 16


def extract(trunk: Trunk, data: LabelledPixels, threads: int = 2) -> dict[str, np.ndarray]:
    """Return the features of each cut, [N, D] float16, and probs, [N, Z] float16, if the network has them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(trunk.content, options, providers=["CPUExecutionProvider"])
    names = [*trunk.cuts, *(["probs"] if trunk.has_probs else [])]
    taken = session.get_inputs()[0].name

    def run(start: int) -> list[np.ndarray]:
        pixels = [
            resize_and_crop(Image.fromarray(image), trunk.preprocess) for image in data.images[start : start + BATCH]
        ]
        outputs = session.run(names, {taken: normalize(np.stack(pixels), trunk.preprocess)})
        return [np.asarray(output).astype(np.float16) for output in outputs]

    with ThreadPoolExecutor(threads) as pool:
        blocks = list(pool.map(run, range(0, len(data.images), BATCH)))
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*blocks, strict=True), strict=True)}


def keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to a file atomically."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_whole(path, stream.getvalue())
