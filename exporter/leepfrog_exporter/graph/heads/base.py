"""Network heads: the location of the features and, for classifiers, of the logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from numpy.typing import NDArray
from onnx import TensorProto

from leepfrog_exporter.graph.edit import describe
from leepfrog_exporter.graph.softmax import Ending
from leepfrog_exporter.graph.tail import Tail

LOGITS = "leepfrog_logits"
"""Name of the value in a scoring model whose softmax is `probs`, float32 [N, Z]."""

# Output counts that identify a classifier: ImageNet-1k, with or without a background class, and the common subsets of
# ImageNet-21k. No embedding has these widths.
KNOWN_COUNTS = frozenset({1000, 1001, 10450, 11221, 11821, 19168, 21841, 21842, 21843})


@dataclasses.dataclass(frozen=True)
class Location:
    """Location of features in a graph: the input of a last linear layer, or the output of a network without one.

    Attributes:
        value: name of the value with the features.
        channels_last: whether channels are its last axis (MatMul) or its second one (Conv).
        layer: description of the linear layer in messages; "" if there is none.
        weights: weights of that layer as stored, possibly transposed; None if there are none.
        first_token: whether tokens [N, T, D] are represented by the first one, the class token, not by their average.
        scale, zero: features are scale * (value - zero), for quantized values.
    """

    value: str
    channels_last: bool
    layer: str = dataclasses.field(default="", compare=False)
    weights: TensorProto | None = dataclasses.field(default=None, compare=False, repr=False)
    first_token: bool = False
    scale: float = 1.0
    zero: float = 0.0

    def pooled(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average the value over space or tokens, or take the first token; return features [n, D]."""
        features = np.float32(self.scale) * (features - np.float32(self.zero))
        if self.first_token and self.channels_last and features.ndim == 3:
            return np.asarray(features[:, 0], np.float32)
        positions = range(1, features.ndim - 1) if self.channels_last else range(2, features.ndim)
        return np.asarray(features.mean(axis=tuple(positions)), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _End:
    """Base class of heads, with the locations of the features.

    Attributes:
        locations: one for each last linear layer; the features of several are concatenated.
    """

    locations: tuple[Location, ...]

    @property
    def layer(self) -> str:
        """Description of the last linear layers in messages; "" if there are none."""
        return " and ".join(location.layer for location in self.locations if location.layer)

    @property
    def is_map(self) -> bool:
        """Whether the features are a map [N, C, H, W]."""
        return not self.locations[0].channels_last

    def pooled(self, values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Average the values of the locations over space or tokens; return features [n, D]."""
        pairs = zip(self.locations, values, strict=True)
        return np.concatenate([location.pooled(value) for location, value in pairs], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractor(_End):
    """Head of a network without probabilities over source classes.

    Attributes:
        reason: message explaining why there are none.
        is_sure: whether the graph shows that its outputs are not classes; otherwise the user has to say so.
    """

    reason: str = dataclasses.field(compare=False)
    is_sure: bool = dataclasses.field(default=False, compare=False)

    @property
    def compared(self) -> str:
        """Name of the scoring model's value that is compared with the network."""
        return FEATURES_OUTPUT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier(_End):
    """Head of a network whose outputs are source classes.

    Attributes:
        logits: name of the value to which a softmax over classes applies.
        ends_in: kind of the classifier's own output.
        binary: whether the last linear layer has a single output, the logit of the second of two classes.
        altered: description of a node between softmax and output that may change probabilities; "" if there is none.
        doubt: reason in the graph why the outputs may not be classes; "" if there is none.
        rounding: step by which the classifier's own probabilities are rounded; 0 if they are not.
    """

    logits: str
    ends_in: Ending
    binary: bool = dataclasses.field(default=False, compare=False)
    altered: str = dataclasses.field(default="", compare=False)
    doubt: str = dataclasses.field(default="", compare=False)
    rounding: float = dataclasses.field(default=0.0, compare=False)

    @property
    def compared(self) -> str:
        """Name of the scoring model's value that corresponds to the classifier's own output."""
        return LOGITS if self.ends_in == "logits" else PROBS_OUTPUT

    def expected(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the expected value of `compared`, [n, Z], given the classifier's own output [n, ...]."""
        output = output.reshape(len(output), -1)
        if self.ends_in == "log-softmax":
            return np.exp(output)
        if self.binary and output.shape[1] == 1:
            return np.hstack([1 - output if self.ends_in == "sigmoid" else 0 * output, output])
        return output

    def embedding_doubt(self, doubt: str) -> str:
        """Return why outputs without labels may be an embedding, to be exported as features; "" if there is no doubt.

        Args:
            doubt: reason given by the source; "" if there is none.
        """
        return "" if self.ends_in != "logits" or self.binary else self.doubt or doubt

    def refuse_embedding(self, n_classes: int, doubt: str) -> None:
        """Raise ModelError if outputs without labels may be something else than classes.

        Args:
            n_classes: number of outputs, Z.
            doubt: reason given by the source why the outputs may not be classes; "" if there is none.
        """
        doubt = self.doubt or doubt
        if doubt and self.ends_in == "logits" and n_classes not in KNOWN_COUNTS:
            raise ModelError(
                f"may be a network without a classifier: {doubt}; if its {n_classes:,} outputs are classes, add "
                "--labels FILE; otherwise export the network with its classifier, or only its features: --no-probs"
            )


Head = Classifier | FeatureExtractor
"""Head of a network."""


def linear_head(tail: Tail, *, weights: TensorProto | None, outputs_axis: int, channels_last: bool) -> Head:
    """Return the head whose last linear layer is the first node of the tail.

    Args:
        tail: tail of the graph.
        weights: weights of the layer, as stored; None if they are computed.
        outputs_axis: axis of the layer's outputs in `weights`.
        channels_last: whether the layer works on the last axis of its input.
    """
    location = Location(tail.node.input[0], channels_last, describe(tail.node), weights)
    has_one_output = weights is not None and len(weights.dims) > 1 and weights.dims[outputs_axis] == 1
    return head_of(tail, location, has_one_output)


def head_of(tail: Tail, location: Location, has_one_output: bool = False) -> Head:
    """Return the head with features at a location.

    Several sigmoid outputs are not a distribution over classes; a single one is the probability of the second of two
    classes.
    """
    binary = has_one_output and (tail.paired or tail.ends_in in ("logits", "sigmoid"))
    if tail.ends_in == "sigmoid" and not binary:
        reason = f"ends in {tail.ending}, not a softmax: its outputs are not a distribution over classes"
        return FeatureExtractor(locations=(location,), reason=reason, is_sure=True)
    doubt = ""
    if binary and not tail.paired:
        doubt = "it has a single output without a sigmoid, like a regression"
    elif tail.activation:
        doubt = f"{tail.activation} follows its last linear layer"
    return Classifier(
        locations=(location,),
        logits=tail.logits,
        ends_in=tail.ends_in,
        binary=binary,
        altered=tail.altered,
        doubt=doubt if tail.ends_in == "logits" else "",
        rounding=tail.rounding,
    )
