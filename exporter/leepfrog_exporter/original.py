"""The original ONNX file, as reference for its scoring model."""

from __future__ import annotations

import numpy as np
import onnx
from leepfrog.errors import ModelError, one_line
from leepfrog.inference.load import load
from numpy.typing import NDArray
from onnx import helper

from leepfrog_exporter.graph.edit import producers
from leepfrog_exporter.graph.heads.base import Head
from leepfrog_exporter.graph.image_input import LUMA, layout
from leepfrog_exporter.parity import Reference

# A file may declare any batch size, and a full batch is allocated in memory.
MAX_FIXED_BATCH = 1024
_KINDS = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


class Original:
    """The unedited network, run one image at a time in its own layout and data type.

    Attributes:
        input: name of the image input.
        channels: number of input channels.
        channels_last: whether channels are the input's last axis.
    """

    def __init__(self, model: onnx.ModelProto, output: str) -> None:
        """Load a network.

        Args:
            model: the network; copied, not changed.
            output: name of the output with the classes.

        Raises:
            ModelError: onnxruntime cannot load it, it has no input, or its fixed batch size is too large.
        """
        self._content, self._output = model.SerializeToString(), output
        self._session = load(self._content)
        if not (inputs := self._session.get_inputs()):
            raise ModelError("has no input; a scoring model takes one image")
        taken = inputs[0]  # attach_input checks that it is the only one
        dims = [dim if isinstance(dim, int) else None for dim in taken.shape]
        self.input, self._kind = taken.name, _KINDS.get(taken.type, np.float32)
        self.channels, self.channels_last = layout(dims) if len(dims) == 4 else (3, False)
        self._repeat = max(1, dims[0] or 1) if dims else 1
        if self._repeat > MAX_FIXED_BATCH:
            raise ModelError(
                f"takes batches of {self._repeat} images only; export it with a dynamic batch axis, [N, 3, H, W]"
            )

    def reference(self, head: Head) -> Reference:
        """Return the network as reference for the parity check; it also returns the input of the last linear layer.

        Raises:
            ModelError: onnxruntime cannot load the network with that value as an output.
        """
        model = onnx.load_model_from_string(self._content)
        made = producers(model.graph)  # without the image itself, which may be the features
        inner = [location.value for location in head.locations if location.value in made]
        there = {value.name for value in model.graph.output}
        if added := [name for name in inner if name not in there]:
            model.graph.output.extend(map(helper.make_empty_tensor_value_info, added))
            self._session = load(model.SerializeToString())

        def run(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            fed = self._fed(image)
            try:
                output, *values = self._session.run([self._output, *inner], {self.input: fed})
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise ModelError(f"does not run in its original form: {one_line(error)}") from None
            found = dict(zip(inner, values, strict=True))
            features = [found.get(location.value, fed) for location in head.locations]
            return [np.asarray(value[:1], np.float32) for value in (output, *features)]

        def reference(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
            output, *features = map(np.concatenate, zip(*map(run, batch), strict=True))
            return output, features

        return reference

    def _fed(self, image: NDArray[np.float32]) -> NDArray[np.generic]:
        if self.channels == 1:
            image = np.tensordot(np.array(LUMA, np.float32), image, axes=1)[None]
        fed = np.repeat(image[None], self._repeat, axis=0)
        fed = fed.transpose(0, 2, 3, 1) if self.channels_last else fed
        if self._kind == np.uint8:
            fed = np.floor(fed + np.float32(0.5))
        return np.ascontiguousarray(fed).astype(self._kind)
