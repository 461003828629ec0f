"""Networks without a classifier, such as the image tower of CLIP, whose output is the features."""

from __future__ import annotations

from leepfrog_exporter.graph.heads.base import FeatureExtractor, Location
from leepfrog_exporter.graph.tail import Tail

PRIORITY = 90  # after all forms with classes


def head(tail: Tail) -> FeatureExtractor | None:
    """Return the head of a network that does not end in a softmax or one of its variants."""
    if tail.ends_in != "logits":
        return None
    shapes = {value.name: value.type.tensor_type.shape.dim for value in tail.graph.output}
    is_map = len(shapes.get(tail.output, ())) == 4  # [N, C, H, W]; otherwise [N, D], or tokens [N, T, D]
    return FeatureExtractor(locations=(Location(tail.output, channels_last=not is_map),), reason=tail.refusal)
