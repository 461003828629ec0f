"""Names and defaults shared with the command line, in a module that is cheap to import."""

PROBE_SUFFIX = ".fisher.onnx"
"""File name suffix of a probe (see `leepfrog.task2vec.probe`), which is stored next to its scoring model."""

PRECISIONS = ("fp16", "int8")
"""Precisions of variants, which are lower than the float32 of their parents."""

DEFAULT_DEVICE = "cpu"
HERE = "here"
"""Name of the default place to measure costs: this machine (see `leepfrog.costs.places`)."""
KEPT = "kept"
"""Name of the place that returns the costs stored by earlier runs on this machine."""
