"""Options of an export, and the drafts that sources provide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import onnx
from leepfrog.arguments import StrPath
from leepfrog.inference.metadata import ModelMetadata

from leepfrog_exporter import parity
from leepfrog_exporter.choices import MEAN
from leepfrog_exporter.graph.heads.base import Head
from leepfrog_exporter.presets import PreprocessChoice


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        output: path of the model: a file ending in .onnx, or a folder; None for the models folder.
        name: name of the model; None for the source's own name.
        preprocess: the user's preprocessing options.
        labels: text file of class labels, one per line.
        license: license of the weights, for sources that do not declare one.
        output_name: name of the graph output with the classes or features, if the graph has several outputs.
        features: name of the graph's value to use as features instead of the last linear layer's input.
        pool: how features with tokens become one vector per image, "mean" or "cls" (the first token).
        random_weights: whether to build the network with random instead of trained weights.
        no_probs: whether the outputs are not source classes, so that only features are exported.
        force: whether to export again and replace an existing model.

    >>> from leepfrog_exporter.export import export
    >>> options = ExportOptions(name="my_features", preprocess=PreprocessChoice(preset="imagenet"), no_probs=True)
    >>> export("onnx:my_model.onnx", options).metadata.has_probs
    False
    """

    output: StrPath | None = None
    name: str | None = None
    preprocess: PreprocessChoice = dataclasses.field(default_factory=PreprocessChoice)
    labels: StrPath | None = None
    license: str | None = None
    output_name: str | None = None
    features: str | None = None
    pool: str = MEAN
    random_weights: bool = False
    no_probs: bool = False
    force: bool = False


@dataclasses.dataclass
class Draft:
    """A graph from one image input to one output, and what its source knows about it.

    Attributes:
        model: the graph.
        reference: function from the graph's head to the reference for the parity check.
        reference_name: name of the reference in messages.
        metadata: metadata of the model, as far as the source knows it.
        doubt: reason why the outputs may not be classes; "" if the source gives none.
        not_classes: reason why the outputs are surely not classes; "" if there is none.
    """

    model: onnx.ModelProto
    reference: Callable[[Head], parity.Reference]
    reference_name: str
    metadata: ModelMetadata
    doubt: str = ""
    not_classes: str = ""
