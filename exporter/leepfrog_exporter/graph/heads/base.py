"""What a form of head gives: where a network's features are, and the probabilities, if it has any."""

from __future__ import annotations

import dataclasses

import numpy as np
from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from numpy.typing import NDArray
from onnx import TensorProto

from leepfrog_exporter.graph.edit import describe
from leepfrog_exporter.graph.softmax import Ending
from leepfrog_exporter.graph.tail import Tail

LOGITS = "leepfrog_logits"
"""The value inside a scoring model that `probs` is the softmax of, float32 [N, Z]."""

# Numbers of classes that no embedding has: ImageNet-1k, also with a background class, and the subsets of ImageNet-21k
# that are in use.
KNOWN_COUNTS = frozenset({1000, 1001, 10450, 11221, 11821, 19168, 21841, 21842, 21843})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _End:
    """Where a network's features are.

    Attributes:
        features: the value that the last linear layer sees, or the output of a network without one.
        channels_last: whether its channels are the last axis (as MatMul takes them) or the second (Conv).
        layer: the last linear layer, as messages name it; "" if there is none.
        weights: those of that layer as they are stored, perhaps transposed; None where there are none.
    """

    features: str
    channels_last: bool
    layer: str = dataclasses.field(default="", compare=False)
    weights: TensorProto | None = dataclasses.field(default=None, compare=False, repr=False)

    def pooled(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [n, D] of the value `features`, averaged over space or tokens."""
        positions = range(1, features.ndim - 1) if self.channels_last else range(2, features.ndim)
        return np.asarray(features.mean(axis=tuple(positions)), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractor(_End):
    """The end of a network without probabilities over source classes.

    Attributes:
        reason: why it has none, as a message says it.
    """

    reason: str = dataclasses.field(compare=False)

    @property
    def compared(self) -> str:
        """The value in the scoring model that is held against the network."""
        return FEATURES_OUTPUT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier(_End):
    """The end of a network whose outputs are source classes.

    Attributes:
        logits: the value that a softmax over classes takes.
        ends_in: what the classifier's own output is.
        binary: whether the last linear layer has one output, the logit of the second of two classes.
        altered: the node between softmax and output that may change probabilities; "" if there is none.
        doubt: why the outputs may not be classes; "" if nothing in the graph says so.
    """

    logits: str
    ends_in: Ending
    binary: bool = dataclasses.field(default=False, compare=False)
    altered: str = dataclasses.field(default="", compare=False)
    doubt: str = dataclasses.field(default="", compare=False)

    @property
    def compared(self) -> str:
        """The value in the scoring model that corresponds to the classifier's own output."""
        return LOGITS if self.ends_in == "logits" else PROBS_OUTPUT

    def expected(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `compared` must be, [n, Z], where the classifier itself puts out [n, ...]."""
        output = output.reshape(len(output), -1)
        if self.ends_in == "log-softmax":
            return np.exp(output)
        if self.binary and output.shape[1] == 1:
            return np.hstack([1 - output if self.ends_in == "sigmoid" else 0 * output, output])
        return output

    def refuse_embedding(self, n_classes: int, doubt: str) -> None:
        """ModelError where outputs that nobody named may be an embedding.

        Args:
            n_classes: Z.
            doubt: what the source says that speaks against classes; "" for nothing.
        """
        doubt = self.doubt or doubt
        if doubt and self.ends_in == "logits" and n_classes not in KNOWN_COUNTS:
            raise ModelError(
                f"may be a network without a classifier: {doubt}; if its {n_classes:,} outputs are classes, name them: "
                "--labels FILE; otherwise export the network with its classifier, or its features alone: --no-probs"
            )


Head = Classifier | FeatureExtractor
"""How a network ends."""


def linear_head(tail: Tail, *, weights: TensorProto | None, outputs_axis: int, channels_last: bool) -> Head:
    """The head whose last linear layer is where the tail begins.

    Several outputs of a sigmoid are no distribution over classes; one is the probability of the second of two.

    Args:
        tail: the graph's end.
        weights: of the layer, as they are stored; None where they are computed.
        outputs_axis: the axis of the layer's outputs in `weights`.
        channels_last: whether the layer works on the last axis of what it sees.
    """
    features, layer = tail.node.input[0], describe(tail.node)
    has_one_output = weights is not None and len(weights.dims) > 1 and weights.dims[outputs_axis] == 1
    binary = has_one_output and (tail.paired or tail.ends_in in ("logits", "sigmoid"))
    if tail.ends_in == "sigmoid" and not binary:
        reason = f"ends in {tail.ending}, not a softmax: its outputs are no distribution over classes"
        return FeatureExtractor(
            features=features, channels_last=channels_last, layer=layer, weights=weights, reason=reason
        )
    doubt = ""
    if binary and not tail.paired:
        doubt = "it puts out one number without a sigmoid, as a regression does"
    elif tail.activation:
        doubt = f"{tail.activation} follows its last linear layer"
    return Classifier(
        features=features,
        channels_last=channels_last,
        layer=layer,
        weights=weights,
        logits=tail.logits,
        ends_in=tail.ends_in,
        binary=binary,
        altered=tail.altered,
        doubt=doubt if tail.ends_in == "logits" else "",
    )
