"""Networks without a classifier, such as DINOv2 or the image tower of CLIP, whose output is the features."""

from __future__ import annotations

from leepfrog_exporter.graph.edit import describe
from leepfrog_exporter.graph.heads.base import FeatureExtractor, Location
from leepfrog_exporter.graph.tail import Tail

PRIORITY = 90  # after all forms with classes

# Operators that may compute the outputs of a classifier, in a form that is not recognized.
_LINEAR = {"Gemm", "MatMul", "Conv", "Einsum"}


def head(tail: Tail) -> FeatureExtractor | None:
    """Return the head of a network that does not end in a softmax or one of its variants.

    Outputs with several positions (tokens or maps), and those of a normalization, an activation or a residual
    connection are surely features.
    """
    if tail.ends_in != "logits":
        return None
    shapes = {value.name: value.type.tensor_type.shape.dim for value in tail.graph.output}
    n_axes = len(shapes.get(tail.output, ()))
    is_linear = tail.node.op_type in _LINEAR and not tail.activation
    is_sure = n_axes > 2 or not (is_linear or tail.node.domain)
    reason = f"no classifier: ends in {describe(tail.node)}" if is_sure else tail.refusal
    # [N, C, H, W] is a map; otherwise the features are [N, D], or tokens [N, T, D].
    location = Location(tail.output, channels_last=n_axes != 4)
    return FeatureExtractor(locations=(location,), reason=reason, is_sure=is_sure)
