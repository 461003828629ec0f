"""Names that the command line shows as well, in a module that is quick to import."""

PROBE_SUFFIX = ".fisher.onnx"
"""A probe (see `leepfrog.task2vec.probe`) lies beside its scoring model, under the same name with this ending."""

PRECISIONS = ("fp16", "int8")
"""Of variants, which have fewer bits than their float32 parents."""

DEFAULT_DEVICE = "cpu"
HERE = "here"
"""The place of costs that is this machine (see `leepfrog.costs.places`), which counts by default."""
KEPT = "kept"
"""The place of costs that earlier runs measured here."""
