"""Fine-tuned accuracy as ground truth: whole networks are trained in torch, on the training images of the trials.

The graphs of the scoring models themselves are trained, so that the fine-tuned network is the scored one; batch norms
are already folded into the convolutions.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from leepfrog.images.preprocess import PreprocessSpec, normalize
from leepfrog.inference.metadata import FEATURES_OUTPUT
from leepfrog.scoring.folds import fold_of
from onnx import numpy_helper
from PIL import Image
from studies.default_order.networks import Trunk
from studies.default_order.sets import LabelledPixels
from torch import nn
from torch.nn import functional

RATES = (1e-4, 3e-4, 1e-3)
# Learning rate of the new head relative to that of the network.
HEAD_RATE = 10.0
EPOCHS, BATCH, WARM_UP, DECAY = 12, 16, 0.1, 0.01
# Size of stored images relative to the input size, for random crops.
ROOM = 1.15
# Sets whose classes are invariant to mirroring, unlike digits.
MIRRORED = ("clothing", "tiles", "fashion")
MOST_TEST = 1500


class Network(nn.Module):
    """Graph of a scoring model up to its features, with a new head; all convolutions and the head are trained."""

    def __init__(self, trunk: Trunk, n_classes: int) -> None:
        super().__init__()
        graph = onnx.load_from_string(trunk.content).graph
        arrays = {array.name: torch.tensor(numpy_helper.to_array(array)) for array in graph.initializer}
        self.nodes = list(_needed(graph, FEATURES_OUTPUT))
        read = {name for node in self.nodes if node.op_type == "Conv" for name in node.input[1:]}
        if read - arrays.keys():
            raise NotImplementedError("a computed weight, as in quantized networks,")
        self.weights = nn.ParameterDict({_key(name): nn.Parameter(arrays[name]) for name in sorted(read)})
        self.constants = {name: array for name, array in arrays.items() if name not in read}
        self.image = graph.input[0].name
        with torch.no_grad():
            width = self.features(torch.zeros(1, 3, *trunk.preprocess.input_size)).shape[1]
        self.head = nn.Linear(width, n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return features [N, D] of images [N, 3, H, W]."""
        values = {self.image: images, **self.constants}
        for node in self.nodes:
            given = [
                self.weights[_key(name)] if _key(name) in self.weights else values.get(name) for name in node.input
            ]
            values[node.output[0]] = _run(node, given)
        return values[FEATURES_OUTPUT]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [N, C]."""
        return self.head(self.features(images))


def _key(name: str) -> str:
    return name.replace(".", "/")


def _needed(graph: onnx.GraphProto, output: str) -> Iterator[onnx.NodeProto]:
    """Return the nodes that an output depends on, in graph order."""
    wanted, nodes = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    return reversed(nodes)


def _run(node: onnx.NodeProto, given: list[torch.Tensor | None]) -> torch.Tensor:
    """Compute the output of an ONNX node, for the operators used in mobile networks."""
    options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    first = given[0]
    if node.op_type == "Conv":
        top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
        strides, groups = options.get("strides", [1, 1]), options.get("group", 1)
        padding: tuple[int, int] = (top, left)
        if (top, left) != (bottom, right):
            first, padding = functional.pad(first, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(first, given[1], given[2] if len(given) > 2 else None, strides, padding, 1, groups)
    if node.op_type == "Clip":
        low, high = (None if bound is None else float(bound) for bound in (*given[1:], None, None)[:2])
        # hardtanh is equivalent, with a backward pass that takes a third of the time.
        bounded = low is not None and high is not None
        return functional.hardtanh(first, low, high) if bounded else torch.clamp(first, low, high)
    if node.op_type == "Add":
        return first + given[1]
    if node.op_type in ("GlobalAveragePool", "ReduceMean"):
        return first.mean(dim=(2, 3), keepdim=bool(options.get("keepdims", 1)))
    if node.op_type in ("Flatten", "Reshape"):
        return first.flatten(1)
    if node.op_type in ("Identity", "Cast"):
        return first
    raise NotImplementedError(node.op_type)


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """Result of fine-tuning.

    Attributes:
        accuracy: accuracy on held-out images.
        rate: selected learning rate.
    """

    accuracy: float
    rate: float


def finetuned(
    trunk: Trunk, data: LabelledPixels, name: str, train: np.ndarray, test: np.ndarray, seed: int
) -> Finetuned:
    """Fine-tune on some images of a set, and evaluate on at most MOST_TEST others.

    Training uses AdamW, warm-up over a tenth of the steps, cosine decay to 0, random crops, and mirroring where the
    classes allow it. The learning rate is the best of RATES on a fifth of the training images; the network is then
    trained again on all of them.
    """
    torch.set_num_threads(1)
    test = np.sort(np.random.default_rng(seed).permutation(test)[:MOST_TEST])
    pixels = functools.partial(_pixels, data, trunk.preprocess)
    fit = functools.partial(_fit, trunk, labels=data.labels, mirrored=name in MIRRORED, seed=seed)
    of_train = dict(zip(train.tolist(), pixels(train), strict=True))
    validation = fold_of(data.labels[train], 5, seed) == 0
    judged = {
        rate: _judge(
            fit(of_train, train[~validation], rate), of_train, train[validation], data.labels, trunk.preprocess
        )
        for rate in RATES
    }
    rate = max(judged, key=lambda rate: judged[rate])
    network = fit(of_train, train, rate)
    of_test = dict(zip(test.tolist(), pixels(test), strict=True))
    return Finetuned(_judge(network, of_test, test, data.labels, trunk.preprocess)[0], rate)


def _pixels(data: LabelledPixels, spec: PreprocessSpec, which: np.ndarray) -> list[np.ndarray]:
    side = round(spec.input_size[0] * ROOM)
    sizes = (side, side)
    return [np.asarray(Image.fromarray(data.images[i]).resize(sizes, Image.Resampling.BICUBIC)) for i in which]


def _batch(
    images: list[np.ndarray], spec: PreprocessSpec, rng: np.random.Generator | None, mirrored: bool
) -> torch.Tensor:
    """Return a normalized batch of random crops, or of center crops without `rng`."""
    side = spec.input_size[0]
    crops = []
    for image in images:
        room = image.shape[0] - side
        top, left = rng.integers(0, room + 1, 2) if rng is not None else (room // 2, room // 2)
        crop = image[top : top + side, left : left + side]
        crops.append(crop[:, ::-1] if rng is not None and mirrored and rng.uniform() < 0.5 else crop)
    return torch.from_numpy(np.ascontiguousarray(normalize(np.stack(crops), spec)))


def _fit(
    trunk: Trunk,
    pixels: dict[int, np.ndarray],
    rows: np.ndarray,
    rate: float,
    *,
    labels: np.ndarray,
    mirrored: bool,
    seed: int,
) -> Network:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(trunk, int(labels.max()) + 1).to(memory_format=torch.channels_last)
    groups = [
        {"params": list(network.weights.parameters()), "lr": rate},
        {"params": list(network.head.parameters()), "lr": HEAD_RATE * rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY, fused=True)
    n_steps = EPOCHS * math.ceil(len(rows) / BATCH)
    warm = max(1, round(WARM_UP * n_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, (1 + math.cos(math.pi * max(0, step - warm) / max(1, n_steps - warm))) / 2),
    )
    for _ in range(EPOCHS):
        order = rng.permutation(rows)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            images = _batch([pixels[i] for i in chosen.tolist()], trunk.preprocess, rng, mirrored)
            logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network


def _judge(
    network: Network, pixels: dict[int, np.ndarray], rows: np.ndarray, labels: np.ndarray, spec: PreprocessSpec
) -> tuple[float, float]:
    """Return accuracy and mean log-likelihood."""
    logits = []
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            images = _batch([pixels[i] for i in rows[start : start + 64].tolist()], spec, None, False)
            logits.append(network(images))
    stacked, classes = torch.cat(logits), torch.from_numpy(labels[rows])
    likelihood = -float(functional.cross_entropy(stacked, classes))
    return float((stacked.argmax(dim=1) == classes).float().mean()), likelihood
