"""Run probes in onnxruntime to compute the squared gradients of every filter from images and cotangents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import MachineError, ModelError
from leepfrog.files import printable
from leepfrog.inference.bounded import BoundedSession
from leepfrog.inference.load import load_file
from leepfrog.inference.metadata import IMAGE_INPUT
from leepfrog.kernels.depthwise import mean_squared_gradients
from leepfrog.task2vec.probe import COTANGENT_INPUT, FISHER_OUTPUT, Correlation, ProbeFile, ProbeLayer

Floats = NDArray[np.float32]

# Limit on the buffer of the depthwise kernel, in values; real layers need thousands.
MAX_PLANES = 1 << 24


class ProbeSession:
    """A probe model loaded into onnxruntime.

    Attributes:
        probe: the probe's file.
        fallback: note about nodes that run on the CPU instead of the device; "" if there are none.
    """

    def __init__(self, probe: ProbeFile, device: str, threads: int) -> None:
        """Load a probe.

        Args:
            probe: the probe's file, unchanged since it was read.
            device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
            threads: number of threads per run.

        Raises:
            ModelError: onnxruntime cannot load the probe, or its inputs or outputs do not match its metadata.
            MachineError: the device is not available.
        """
        self.probe = probe
        self._session = load_file(probe.path, probe.sha256, device, threads)
        self.fallback = self._session.fallback
        self._check_contract()

    def _check_contract(self) -> None:
        made = self.probe.metadata
        shapes = {i.name: i.shape for i in self._session.get_inputs()}
        wanted = {IMAGE_INPUT: [3, *made.preprocess.input_size], COTANGENT_INPUT: [made.n_features]}
        if {name: shape[1:] for name, shape in shapes.items()} != wanted:
            raise ModelError(f"{printable(self.probe.path)}: inputs are {shapes}, but its metadata declares {wanted}")
        absent = {*output_names(made.layers)} - {o.name for o in self._session.get_outputs()}
        if absent:
            raise ModelError(f"{printable(self.probe.path)}: has no output {printable(min(absent))}; export it again")

    def run(self, images: Floats, cotangents: Floats) -> Floats:
        """Compute the squared gradients of features . cotangent, averaged over each filter's weights.

        Args:
            images: preprocessed images, [n, 3, H, W].
            cotangents: cotangent of each image, [n, D].

        Returns:
            Mean squared gradient per image and filter, [n, F].

        Raises:
            ModelError: the probe fails, or its outputs are invalid.
            MachineError: out of memory.
        """
        try:
            return filters(self._session, self.probe.metadata.layers, images, cotangents)
        except (ModelError, MachineError) as error:
            raise type(error)(f"{printable(self.probe.path)}: {error}") from None


def output_names(layers: Sequence[ProbeLayer]) -> list[str]:
    """Return the names of the outputs that a probe with these layers must have."""
    outside = [layer.correlation for layer in layers if layer.correlation is not None]
    return [FISHER_OUTPUT, *dict.fromkeys(name for c in outside for name in (c.seen, c.gradient))]


def filters(session: BoundedSession, layers: Sequence[ProbeLayer], images: Floats, cotangents: Floats) -> Floats:
    """Run `ProbeSession.run` on a session of a probe with these layers; ModelError if it fails or is invalid."""
    names = output_names(layers)
    outputs = session.run(names, {IMAGE_INPUT: images, COTANGENT_INPUT: cotangents})
    values = dict(zip(names, outputs, strict=True))
    inside, n = values[FISHER_OUTPUT], len(images)
    n_inside = sum(layer.n_filters for layer in layers if layer.correlation is None)
    if inside.shape != (n, n_inside) or inside.dtype != np.float32:
        raise ModelError(f"fisher is {inside.dtype} {list(inside.shape)}, not float32 {[n, n_inside]}")
    squares = np.empty((n, sum(layer.n_filters for layer in layers)), np.float32)
    at = taken = 0
    for layer in layers:
        columns = squares[:, at : at + layer.n_filters]
        if layer.correlation is None:
            columns[:] = inside[:, taken : taken + layer.n_filters]
            taken += layer.n_filters
        else:
            _correlate(layer, layer.correlation, values, columns)
        at += layer.n_filters
    if not np.isfinite(squares).all() or squares.min(initial=0) < 0:
        raise ModelError("squared gradients are negative or not finite")
    return squares


def _correlate(layer: ProbeLayer, correlation: Correlation, values: dict[str, Floats], out: Floats) -> None:
    seen, gradient = values[correlation.seen], values[correlation.gradient]
    if (
        seen.ndim != 4
        or gradient.ndim != 4
        or gradient.shape[:2] != out.shape
        or len(seen) != len(out)
        or not seen.shape[1]
        or out.shape[1] % seen.shape[1]
        or {seen.dtype, gradient.dtype} != {np.dtype(np.float32)}
        or layer.n_weights != correlation.window[0] * correlation.window[1]
    ):
        raise ModelError(f"cannot correlate {list(seen.shape)} and {list(gradient.shape)} for {layer.name}")
    lengths = [
        (n + (k - 1) * d // s + 1) * s
        for n, k, s, d in zip(
            gradient.shape[2:], correlation.window, correlation.strides, correlation.dilations, strict=True
        )
    ]
    if lengths[0] * lengths[1] > MAX_PLANES:
        raise ModelError(f"the window of {layer.name} is too large")
    mean_squared_gradients(
        seen, gradient, correlation.window, correlation.strides, correlation.dilations, correlation.begin, out
    )
