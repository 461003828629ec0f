"""Sliding windows of convolutions and pooling, with all defaults made explicit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from leepfrog.errors import ModelError
from numpy.typing import NDArray
from onnx import NodeProto

from leepfrog_exporter.gradient.tape import Shape, Tape
from leepfrog_exporter.graph.edit import attributes, describe


@dataclasses.dataclass(frozen=True)
class Window:
    """A sliding window over spatial axes.

    Attributes:
        kernel: number of positions in a window, per axis.
        strides: step between windows, per axis.
        dilations: step between positions inside a window, per axis.
        begin: padding before the first position, per axis; may exceed the window.
        inputs: length of the input, per axis.
        outputs: number of windows, per axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, tape: Tape, node: NodeProto, kernel: Shape | None = None) -> Window:
        """Return the window of a Conv or pooling node; `kernel` is the kernel shape if the weights define it.

        Raises:
            ModelError: a spatial axis depends on the batch size.
        """
        given = attributes(node)
        inputs, outputs = tape.shape(node.input[0])[2:], tape.shape(node.output[0])[2:]
        if min((*inputs, *outputs), default=1) < 0:
            raise ModelError(f"cannot differentiate {describe(node)}: a spatial axis depends on the batch size")
        rank = len(inputs)
        kernel = tuple(kernel or given["kernel_shape"])
        strides, dilations = (tuple(given.get(name) or (1,) * rank) for name in ("strides", "dilations"))
        automatic = given.get("auto_pad", b"NOTSET")
        if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
            total = [
                max(0, (p - 1) * s + d * (k - 1) + 1 - h)
                for k, s, d, h, p in zip(kernel, strides, dilations, inputs, outputs, strict=True)
            ]
            begin = tuple(t // 2 if automatic == b"SAME_UPPER" else t - t // 2 for t in total)
        elif automatic == b"VALID":
            begin = (0,) * rank
        else:
            begin = tuple(given.get("pads") or (0,) * rank)[:rank]
        return cls(kernel, strides, dilations, begin, inputs, outputs)

    @property
    def is_pointwise(self) -> bool:
        """Whether each output position depends only on the input at the same position."""
        return set(self.kernel) == {1} and set(self.strides) == {1} and not any(self.begin)

    def transposed(self, tape: Tape, gradient: str, channels: int, weights: NDArray[np.floating], group: int) -> str:
        """Emit the gradient of the input from that of the output: windows are mapped back onto the input and summed.

        This is a convolution with stride 1 over the gradient with zeros inserted between its positions. ConvTranspose
        is equivalent, but many times slower in onnxruntime for depthwise kernels.

        Args:
            tape: tape on which the nodes are written.
            gradient: name of the output's gradient, [N, O, outputs...].
            channels: number of output channels, O.
            weights: weights [C, O / group, kernel...], those of the forward convolution with input and output channels
                swapped and kernel axes reversed.
            group: number of groups of the convolution.
        """
        pointwise = set(self.kernel) == {1} and not any(self.begin)
        if pointwise:  # convolve first, while there are fewer positions
            gradient = tape.emit("Conv", gradient, tape.constant(weights), group=group)
            channels = weights.shape[0]
        gradient = spread(tape, gradient, (-1, channels, *self.outputs), dict(enumerate(self.strides, start=2)))
        lengths = [p * s for p, s in zip(self.outputs, self.strides, strict=True)]
        before = [d * (k - 1) - b for d, k, b in zip(self.dilations, self.kernel, self.begin, strict=True)]
        after = [
            h - n - b + d * (k - 1)
            for h, n, b, d, k in zip(self.inputs, lengths, before, self.dilations, self.kernel, strict=True)
        ]
        if pointwise:
            return pad(tape, gradient, self._spatial(before, after), len(self.kernel) + 2)
        # Conv does not support negative padding, so the gradient is cropped first.
        crops = self._spatial([min(0, p) for p in before], [min(0, p) for p in after])
        gradient = pad(tape, gradient, crops, len(self.kernel) + 2)
        pads = [max(0, p) for p in (*before, *after)]
        return tape.emit("Conv", gradient, tape.constant(weights), group=group, pads=pads, dilations=self.dilations)

    def _spatial(self, before: Sequence[int], after: Sequence[int]) -> dict[int, tuple[int, int]]:
        return dict(enumerate(zip(before, after, strict=True), start=2))

    def positions(self, tape: Tape, value: str) -> list[str]:
        """Emit the input at each position of the window, [N, C, outputs...] each, in row-major order."""
        rank = len(self.kernel)
        after = [
            max(0, (p - 1) * s + d * (k - 1) + 1 - b - h)
            for p, s, d, k, b, h in zip(
                self.outputs, self.strides, self.dilations, self.kernel, self.begin, self.inputs, strict=True
            )
        ]
        if any(self.begin) or any(after):
            value = pad(
                tape, value, dict(zip(range(2, rank + 2), zip(self.begin, after, strict=True), strict=True)), rank + 2
            )
        seen = []
        for offset in np.ndindex(*self.kernel):
            starts = [d * o for d, o in zip(self.dilations, offset, strict=True)]
            ends = [start + (p - 1) * s + 1 for start, p, s in zip(starts, self.outputs, self.strides, strict=True)]
            seen.append(
                tape.emit(
                    "Slice", value, tape.integers(starts), tape.integers(ends),
                    tape.integers(range(2, rank + 2)), tape.integers(self.strides),
                )
            )  # fmt: skip
        return seen


def pad(tape: Tape, value: str, amounts: Mapping[int, tuple[int, int]], rank: int, fill: float = 0.0) -> str:
    """Pad a value by (before, after) per axis; negative amounts crop."""
    cut = {axis: ends for axis, ends in amounts.items() if min(ends) < 0}
    if cut:
        starts = [max(0, -before) for before, _ in cut.values()]
        ends = [min(0, after) or np.iinfo(np.int64).max for _, after in cut.values()]
        value = tape.emit("Slice", value, tape.integers(starts), tape.integers(ends), tape.integers(cut))
    before = [max(0, amounts.get(axis, (0, 0))[0]) for axis in range(rank)]
    after = [max(0, amounts.get(axis, (0, 0))[1]) for axis in range(rank)]
    if not any(before) and not any(after):
        return value
    return tape.emit("Pad", value, tape.integers([*before, *after]), tape.constant(fill))


def spread(tape: Tape, value: str, shape: Shape, strides: dict[int, int]) -> str:
    """Insert `stride - 1` zeros after each position along axes, so that a length n becomes n * stride."""
    strides = {axis: stride for axis, stride in strides.items() if stride > 1}
    if not strides:
        return value
    if len(shape) == 4 and set(strides) <= {2, 3} and tape.dtype == np.float32:
        return _repeated_and_masked(tape, value, shape, strides)
    split: list[int] = []
    amounts = {}
    for axis, length in enumerate(shape):
        split.append(length)
        if axis in strides:
            amounts[len(split)] = (0, strides[axis] - 1)
            split.append(1)
    value = pad(tape, tape.reshape(value, tuple(split)), amounts, len(split))
    return tape.reshape(value, tuple(n * strides.get(axis, 1) for axis, n in enumerate(shape)))


def _repeated_and_masked(tape: Tape, value: str, shape: Shape, strides: Mapping[int, int]) -> str:
    """Implement `spread` for images: repeat each pixel and mask the copies. Takes an eighth of the time of Pad."""
    scales = [float(strides.get(axis, 1)) for axis in range(4)]
    repeated = tape.emit(
        "Resize", value, "", tape.constant(scales, np.float32),
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    rows, columns = (np.arange(shape[axis] * strides.get(axis, 1)) % strides.get(axis, 1) == 0 for axis in (2, 3))
    return tape.emit("Mul", repeated, tape.constant(rows[:, None] & columns))
