"""The contract between exporter and runtime: what a scoring model's `metadata_props` say, under keys `leepfrog.*`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from leepfrog.errors import ModelError
from leepfrog.images.preprocess import PreprocessSpec

PREFIX = "leepfrog."
FORMAT_VERSION = 1

# What a stranger's file may hold instead would fail far from here.
_KINDS: dict[str, Any] = {
    "name": str,
    "source": str,
    "licence": str,
    "n_parameters": int,
    "top1": int | float | None,
    "macs": int | None,
    "weights_sha256": str,
    "parity": Mapping,
}

IMAGE_INPUT = "image"
PROBS_OUTPUT = "probs"
FEATURES_OUTPUT = "features"

# A probe (see leepfrog.task2vec.probe) lies beside its scoring model, under the same name with this ending.
PROBE_SUFFIX = ".fisher.onnx"
PROBE_PREFIX = f"{PREFIX}probe."


PRECISIONS = ("fp16", "int8")


@dataclasses.dataclass(frozen=True)
class Variant:
    """What makes a model in fewer bits another model than its float32 parent.

    Attributes:
        precision: one of PRECISIONS.
        parent: the parent's name.
        parent_sha256: the parent file's hash.
        recipe: how it was made, in words.
        tried: what each recipe that was tried measured.
    """

    precision: str
    parent: str
    parent_sha256: str
    recipe: str = ""
    tried: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Variant:
        """Read what was written as JSON; TypeError, KeyError or ValueError where it is something else."""
        texts = {key: values[key] for key in ("precision", "parent", "parent_sha256", "recipe")}
        if not all(isinstance(text, str) for text in texts.values()) or texts["precision"] not in PRECISIONS:
            raise ValueError(f"variant is {str(values)[:80]}")
        return cls(**texts, tried=tuple(dict(each) for each in values["tried"]))


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """Everything needed to use a scoring model, carried by the file itself.

    Attributes:
        name: the model's name in the zoo.
        source: where it came from, as `leepfrog export` takes it.
        preprocess: what its images need.
        labels: names of its source classes in output order; empty when not known.
        licence: licence of the weights; "" when not known.
        n_parameters: numbers in the weights, batch-norm statistics not counted.
        macs: multiply-adds on one image, None where they could not be counted.
        top1: published ImageNet top-1 accuracy in percent, None where none is known.
        weights_sha256: hash of the weights that it was made from.
        parity: what the export's check measured (see leepfrog_exporter.parity), or, of a variant, what comparing it
            with its parent did (see leepfrog_exporter.precision).
        variant: how it differs from its float32 parent, None for a model that has none.
    """

    name: str
    source: str
    preprocess: PreprocessSpec
    labels: tuple[str, ...] = ()
    licence: str = ""
    n_parameters: int = 0
    macs: int | None = None
    top1: float | None = None
    weights_sha256: str = ""
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: Variant | None = None

    def to_props(self) -> dict[str, str]:
        """Metadata as `metadata_props`: JSON text by key."""
        values = {**vars(self), "preprocess": self.preprocess.as_dict(), "format_version": FORMAT_VERSION}
        values["variant"] = dataclasses.asdict(self.variant) if self.variant else None
        return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ModelMetadata:
        """Read what `to_props` wrote.

        Raises:
            ModelError: no leepfrog metadata, a newer format, or values that are not understood.
        """
        own = {key.removeprefix(PREFIX): text for key, text in props.items() if key.startswith(PREFIX)}
        if "format_version" not in own:
            if any(key.startswith(PROBE_PREFIX) for key in props):
                raise ModelError("is a probe, not a scoring model; the scoring model lies beside it")
            raise ModelError("not a scoring model yet")
        try:
            values = {key: json.loads(text) for key, text in own.items()}
        except (ValueError, RecursionError) as error:  # nested too deeply
            raise ModelError(f"metadata is not JSON: {error}") from None
        version = values.pop("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"metadata has format {version}, this leepfrog reads {FORMAT_VERSION}; export it again or upgrade"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            fields = {key: value for key, value in values.items() if key in known}
            fields["preprocess"] = PreprocessSpec.from_dict(values["preprocess"])
            fields["labels"] = tuple(str(label) for label in values.get("labels", ()))
            fields["variant"] = Variant.from_dict(fields["variant"]) if fields.get("variant") else None
            metadata = cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"metadata is incomplete: {error}") from None
        for key, kind in _KINDS.items():
            if not isinstance(value := getattr(metadata, key), kind) or isinstance(value, bool):
                raise ModelError(f"metadata is not understood: {key} is {str(value)[:80]!r}")
        if metadata.top1 is not None and not math.isfinite(metadata.top1):
            raise ModelError("metadata is not understood: top1 is not finite")
        return metadata
