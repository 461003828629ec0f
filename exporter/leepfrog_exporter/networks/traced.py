"""Drafts of scoring models from torch networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from leepfrog.errors import UsageError
from leepfrog.inference.metadata import ModelMetadata
from leepfrog.progress import Progress

from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.graph.image_input import attach_input
from leepfrog_exporter.networks.fusing import fused, torch_reference
from leepfrog_exporter.networks.network import Network, n_parameters
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.tracing import trace


def built_and_traced(
    build: Callable[..., Network], library: str, name: str, options: ExportOptions, progress: Progress
) -> Draft:
    """Build and trace a library's network, and return its draft (see `traced`).

    Args:
        build: function that builds a network from its name and `pretrained`.
        library: scheme of the source.
        name: the library's name for the network.
        options: options of the export.
        progress: advanced by two steps.
    """
    if options.features is not None:
        raise UsageError("--features names a value of an ONNX graph; it is for onnx: sources")
    network = build(name, pretrained=not options.random_weights)
    progress.advance(1)
    return traced(network, f"{library}:{name}", options, progress)


def traced(
    network: Network, source: str, options: ExportOptions, progress: Progress, sha256: str | None = None
) -> Draft:
    """Trace a network into a graph with an image input.

    Args:
        network: the network.
        source: name of the network in messages and metadata.
        options: options of the export.
        progress: advanced by one step; receives a notice if the network cannot be fused.
        sha256: SHA-256 of the weights file; None to hash the network's own weights.

    Raises:
        ModelError: torch cannot export the network to ONNX.
        UsageError: the preprocessing options do not fit the network.
    """
    spec = options.preprocess.spec(
        options.preprocess.input_size or network.preprocess.input_size, network.preprocess, source
    )
    shipped = fused(network.module, source, progress)
    model = trace(shipped, spec.input_size, source)
    attach_input(model, spec.input_size)
    progress.advance(1)
    random = options.random_weights
    metadata = ModelMetadata(
        name=options.name or (f"{network.name}-random" if random else network.name),
        source=f"{source} (random weights)" if random else source,
        preprocess=spec,
        labels=() if random else network.labels,
        license=options.license or network.license,
        n_parameters=n_parameters(shipped),
        top1=None if random else network.top1,
        weights_sha256=sha256 or network.weights_sha256(),
    )
    reference_name = f"torch {package('torch').__version__.partition('+')[0]}"
    if shipped is not network.module:
        reference_name += " before fusing"
    reference = partial(torch_reference, network.module, shipped)
    return Draft(model, reference, reference_name, metadata, network.doubt, network.not_classes)
