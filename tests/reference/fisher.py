"""Squared gradients of filters by torch autograd, one sample at a time; slow, and independent of leepfrog's code."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
from leepfrog_exporter.networks.packages import package
from numpy.typing import NDArray


@dataclasses.dataclass
class LayerGradients:
    """Squared gradients of one layer.

    Attributes:
        name: name of the layer.
        weights: weights of the layer, [O, ...].
        squared: mean squared gradient per sample and filter, [N, O].
    """

    name: str
    weights: NDArray[np.float64]
    squared: NDArray[np.float64]


def squared_gradients(
    network: Any, images: NDArray[np.floating], cotangents: NDArray[np.floating], dtype: type[np.floating]
) -> list[LayerGradients]:
    """Return the gradients of every convolution and linear layer except the last, in order of execution.

    Args:
        network: a torch module in evaluation mode.
        images: [N, 3, H, W].
        cotangents: gradient with respect to the input of the last layer (averaged over positions, if that is a map),
            [N, D].
        dtype: precision of all computations.
    """
    torch = package("torch")
    network = copy.deepcopy(network).to({np.float32: torch.float32, np.float64: torch.float64}[dtype])
    names = {module: name for name, module in network.named_modules()}
    order: list[Any] = []
    seen: dict[Any, Any] = {}

    def remember(module: Any, inputs: Any) -> None:
        if module not in order:
            order.append(module)
        seen[module] = inputs[0]

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_pre_hook(remember)
    rows: dict[Any, list[NDArray[np.float64]]] = {}
    for image, cotangent in zip(images.astype(dtype), cotangents.astype(dtype), strict=True):
        network.zero_grad()
        network(torch.from_numpy(image[None]))
        features = seen[order[-1]]
        if features.ndim == 4 and features.shape[-1] > 1:
            features = features.mean((2, 3))
        (features.reshape(-1) * torch.from_numpy(cotangent)).sum().backward()
        for module in order[:-1]:
            squares = module.weight.grad.double() ** 2
            rows.setdefault(module, []).append(squares.flatten(1).mean(dim=1).numpy())
    return [
        LayerGradients(names[module], module.weight.detach().double().numpy(), np.stack(rows[module]))
        for module in order[:-1]
    ]
