"""What an export is asked for, and what a source of models gives it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import onnx
from leepfrog.arguments import StrPath
from leepfrog.inference.metadata import ModelMetadata

from leepfrog_exporter import parity
from leepfrog_exporter.graph.heads.base import Head
from leepfrog_exporter.presets import PreprocessChoice


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        output: a file ending in .onnx, or a folder; None for the models folder.
        name: the model's name; None for the source's own.
        preprocess: what the user says of preprocessing.
        labels: a text file of class names, one a line.
        license: of the weights, where the source does not say it.
        output_name: the graph's output that holds the classes, or the features, where it has several.
        random_weights: build the network without its trained weights.
        no_probs: its outputs are no source classes; the model has features alone.
        force: export again what is there already.
    """

    output: StrPath | None = None
    name: str | None = None
    preprocess: PreprocessChoice = dataclasses.field(default_factory=PreprocessChoice)
    labels: StrPath | None = None
    license: str | None = None
    output_name: str | None = None
    random_weights: bool = False
    no_probs: bool = False
    force: bool = False


@dataclasses.dataclass
class Draft:
    """A graph from one image input to one classes output, and what its source knows of it.

    Attributes:
        model: the graph.
        reference: the source, given the graph's end.
        reference_name: what messages call it.
        metadata: what is known of the model.
        doubt: why the outputs may not be classes; "" if the source says nothing of it.
    """

    model: onnx.ModelProto
    reference: Callable[[Head], parity.Reference]
    reference_name: str
    metadata: ModelMetadata
    doubt: str = ""
