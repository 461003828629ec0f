"""Export a source as a scoring model on disk.

    source ─ read or build ─▶ graph to logits ─ attach input and outputs ─▶ scoring model ─ parity check ─▶ file

A source is `SCHEME:REST` (see `leepfrog_exporter.sources`) or the name of a zoo entry. It only provides a graph and
what is known about it (`leepfrog_exporter.draft`); all other steps are shared.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
from leepfrog import __version__
from leepfrog.arguments import StrPath, check_name, nearest
from leepfrog.errors import BadInputError, ModelError, UsageError
from leepfrog.files import LARGEST_TEXT, printable, read_regular, write_whole
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, SilentProgress

from leepfrog_exporter import parity, zoo
from leepfrog_exporter.choices import CLS, POOLS
from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.graph.edit import free_names, strip_traces
from leepfrog_exporter.graph.heads import find_features, find_head
from leepfrog_exporter.graph.heads.base import KNOWN_COUNTS, Classifier, FeatureExtractor, Head
from leepfrog_exporter.graph.heads.chosen import candidates, chosen_head
from leepfrog_exporter.graph.macs import count_macs
from leepfrog_exporter.graph.one_by_one import quantizes_batches, run_one_by_one
from leepfrog_exporter.graph.outputs import attach_outputs
from leepfrog_exporter.graph.purity import mixing_node
from leepfrog_exporter.graph.shapes import shapes
from leepfrog_exporter.places import path_of, refuse_to_replace_another
from leepfrog_exporter.sources import schemes, source_of
from leepfrog_exporter.sources.zoo import already_there

__all__ = ["ExportOptions", "export"]

STEPS = ("weights", "graph", "outputs", "parity check", "write")


def export(source: str, options: ExportOptions | None = None, progress: Progress | None = None) -> ModelFile:
    """Export one source as a scoring model.

    Args:
        source: `timm:NAME`, `torchvision:NAME`, `onnx:FILE`, `zoo:NAME` or a zoo entry's name.
        options: see ExportOptions.
        progress: receives the progress of each step.

    Returns:
        The file written, or the existing one if it was exported from the same source and weights.

    Raises:
        UsageError, BadInputError, MachineError: see leepfrog.errors. No partial file is left, and an existing file
            is kept.

    >>> from leepfrog_exporter.presets import PreprocessChoice
    >>> options = ExportOptions(preprocess=PreprocessChoice(preset="imagenet"), labels="my_classes.txt")
    >>> model = export("onnx:my_model.onnx", options)
    >>> model.name, model.metadata.labels[:2]
    ('my_model', ('class 0', 'class 1'))
    """
    options, progress = options or ExportOptions(), progress or SilentProgress()
    check_name("pool", options.pool, POOLS)
    if options.no_probs and options.labels:
        raise UsageError("--labels and --no-probs exclude each other: a model without probabilities has no classes")
    scheme, rest = _parse(source)
    progress.start(f"export {source}", len(STEPS))
    if not options.force and scheme == "zoo" and (there := already_there(rest, options)) is not None:
        progress.advance(len(STEPS))
        return there
    try:
        draft = source_of(scheme).draft(rest, options, progress)
        model, metadata = _scoring_model(draft, options, progress)
        path = path_of(options.output, metadata.name)
        refuse_to_replace_another(path, metadata, options.force)
        write_model(model, metadata, path)
    except ModelError as error:
        where = rest if scheme == "onnx" else source
        raise type(error)(str(error) if where in str(error) else f"{where}: {error}") from None
    progress.advance(1)
    return ModelFile.read(path)


def write_model(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Write a scoring model with this metadata, atomically.

    Raises:
        ModelError: the metadata contains values that readers reject, such as parity numbers beyond 2^63.
        MachineError: the file cannot be written.
    """
    props = metadata.to_props()
    ModelMetadata.from_props(props)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props)
    write_whole(path, model.SerializeToString())


def _scoring_model(draft: Draft, options: ExportOptions, progress: Progress) -> tuple[onnx.ModelProto, ModelMetadata]:
    model, spec = draft.model, draft.metadata.preprocess
    strip_traces(model)
    free_names(model.graph, (PROBS_OUTPUT, FEATURES_OUTPUT))
    head = _head(draft, options, progress)
    attach_outputs(model, head)
    if quantizes_batches(model.graph):
        run_one_by_one(model)
    progress.advance(1)
    measured = parity.check(model, head, spec, draft.reference(head), draft.reference_name)
    widths = {PROBS_OUTPUT: measured.n_source, FEATURES_OUTPUT: measured.n_features}
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].dim_value = widths[value.name]
    model.producer_name, model.producer_version = "leepfrog", __version__
    labels = _checked_labels(head, measured, draft, options, progress)
    progress.advance(1)
    metadata = dataclasses.replace(
        draft.metadata,
        has_probs=isinstance(head, Classifier),
        labels=labels,
        parity=measured.as_dict(),
        macs=count_macs(model, spec.input_size),
    )
    return model, metadata


def _head(draft: Draft, options: ExportOptions, progress: Progress) -> Head:
    """Return the head of a draft's graph; one without probabilities only if that is sure, or wanted."""
    graph = draft.model.graph
    output = graph.output[0].name
    if options.features is not None:
        head = chosen_head(draft.model, output, options.features)
        if options.no_probs:
            head = FeatureExtractor(locations=head.locations, reason="")
        return _pooled(head, draft.model, options)
    if options.no_probs:
        return _pooled(find_features(graph, output), draft.model, options)
    try:
        head = find_head(graph, output) if not draft.not_classes else find_features(graph, output)
    except ModelError as error:
        if mixing_node(graph):
            raise
        raise ModelError(f"{error}; or name its features, --features VALUE: {candidates(draft.model)}") from None
    doubt = draft.not_classes
    if isinstance(head, FeatureExtractor):
        doubt = doubt or head.reason
        if mixing := mixing_node(graph):
            raise ModelError(f"refused: {mixing}")
        if not (draft.not_classes or head.is_sure):
            listed = candidates(draft.model)
            raise ModelError(f"{doubt}; to export only its features, use --no-probs, or --features VALUE: {listed}")
    elif not (options.labels or draft.metadata.labels) and (doubt := head.embedding_doubt(draft.doubt)):
        # Outputs without labels, in an unusual number.
        n_outputs = (shapes(draft.model).get(output) or [0])[-1]
        if n_outputs == 0 or n_outputs in KNOWN_COUNTS:
            return _pooled(head, draft.model, options)
        # What the last layer sees is good whether its outputs are classes or an embedding. If an activation follows,
        # they are the features themselves.
        is_last = doubt == draft.doubt
        head = FeatureExtractor(locations=head.locations, reason=doubt) if is_last else find_features(graph, output)
        doubt += f"; if its {n_outputs:,} outputs are classes, add --labels FILE"
    if doubt:
        progress.notice(f"{draft.metadata.name}: exports features only, without probabilities: {doubt}")
    return _pooled(head, draft.model, options)


def _pooled(head: Head, model: onnx.ModelProto, options: ExportOptions) -> Head:
    """Return a head whose tokens become one vector per image as the options say."""
    first = options.pool == CLS
    if first:
        at = shapes(model)
        if not any(len(at.get(location.value, ())) == 3 for location in head.locations):
            raise UsageError(f"--pool {CLS}: the features are not tokens, [N, T, D]")
    return dataclasses.replace(
        head, locations=tuple(dataclasses.replace(location, first_token=first) for location in head.locations)
    )


def _checked_labels(
    head: Head, measured: parity.Parity, draft: Draft, options: ExportOptions, progress: Progress
) -> tuple[str, ...]:
    """Return the labels of the source classes; raise ModelError if the outputs may be something else."""
    if isinstance(head, FeatureExtractor) or measured.n_source is None:
        if not head.layer and measured.n_features in KNOWN_COUNTS:
            raise ModelError(
                f"has {measured.n_features:,} outputs, like an ImageNet classifier; export it without --no-probs"
            )
        return ()
    labels = _labels(options.labels) if options.labels else draft.metadata.labels
    if not options.labels and labels and len(labels) != measured.n_source:
        name, n_labels = draft.metadata.name, len(labels)
        progress.notice(f"{name}: ignores the {n_labels} declared labels: it has {measured.n_source} classes")
        labels = ()
    if not labels:
        head.refuse_embedding(measured.n_source, draft.doubt)
    elif len(labels) != measured.n_source:
        raise ModelError(f"has {measured.n_source} classes, but {len(labels)} labels are given")
    return labels


def _parse(source: str) -> tuple[str, str]:
    scheme, colon, rest = source.partition(":")
    if colon and scheme in schemes() and rest:
        return scheme, rest
    if not colon and source in zoo.load():
        return "zoo", source
    if not colon and source.endswith(".onnx"):
        raise UsageError(f"to export a file, write onnx:{source}")
    forms = ", ".join(f"{name}:{source_of(name).TAKES}" for name in schemes() if name != "zoo")
    if scheme in schemes():
        raise UsageError(f"source {source!r} has nothing after the colon; expected {forms}")
    near = nearest(source, zoo.load()) if not colon else nearest(scheme, schemes())
    hint = f"did you mean {near}{colon}{rest}? " if near else ""
    raise UsageError(f"source {source!r} is unknown; {hint}expected {forms} or a name listed by leepfrog zoo list")


def _labels(file: StrPath) -> tuple[str, ...]:
    path = Path(file)
    try:
        lines = read_regular(path, LARGEST_TEXT).decode("utf-8").splitlines()
    except OSError as error:
        raise BadInputError(f"{printable(path)}: labels cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{printable(path)}: labels cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())
