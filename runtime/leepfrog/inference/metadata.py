"""The contract between exporter and runtime: the `metadata_props` with keys `leepfrog.*` of a scoring model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from leepfrog import stated
from leepfrog.errors import ModelError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.choices import PRECISIONS

PREFIX = "leepfrog."
FORMAT_VERSION = 2
# Version 1 had no has_probs, since all models output probabilities, and spelled the key "licence".
READABLE_VERSIONS = (1, FORMAT_VERSION)

IMAGE_INPUT = "image"
PROBS_OUTPUT = "probs"
FEATURES_OUTPUT = "features"

PROBE_PREFIX = f"{PREFIX}probe."


@dataclasses.dataclass(frozen=True)
class Variant:
    """How a model of lower precision was derived from its float32 parent.

    Attributes:
        precision: precision of the variant, "fp16" or "int8".
        parent: name of the parent.
        parent_sha256: hash of the parent's file.
        recipe: human-readable description of the conversion.
        tried: measurements of every recipe that was tried.
    """

    precision: str
    parent: str
    parent_sha256: str
    recipe: str = ""
    tried: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Variant:
        """Decode JSON values; TypeError, KeyError or ValueError if they are invalid."""
        texts = {key: stated.text(values[key], f"variant.{key}") for key in ("parent_sha256", "recipe")}
        if values["precision"] not in PRECISIONS:
            raise ValueError(f"variant.precision is {stated.shown(values['precision'])}")
        parent = stated.name(values["parent"], "variant.parent")
        tried = tuple(_measured(attempt, "variant.tried", needs=("recipe",)) for attempt in values["tried"])
        return cls(values["precision"], parent, **texts, tried=tried)


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """Everything needed to use a scoring model, stored in the file itself.

    Attributes:
        name: name of the model in the zoo.
        source: origin of the model, in the form that `leepfrog export` accepts.
        preprocess: preprocessing of input images.
        has_probs: whether the model outputs probabilities over source classes in addition to features.
        labels: names of the source classes in output order; empty if unknown.
        license: license of the weights; empty if unknown.
        n_parameters: number of parameters, excluding batch-norm statistics.
        macs: multiply-adds per image; None if they could not be counted.
        top1: published ImageNet top-1 accuracy in percent; None if unknown.
        weights_sha256: hash of the original weights.
        parity: measurements of the export's parity check (see leepfrog_exporter.parity) or, for a variant, of the
            comparison with its parent (see leepfrog_exporter.precision).
        variant: how the model was derived from its float32 parent; None if it is not a variant.
    """

    name: str
    source: str
    preprocess: PreprocessSpec
    has_probs: bool = True
    labels: tuple[str, ...] = ()
    license: str = ""
    n_parameters: int = 0
    macs: int | None = None
    top1: float | None = None
    weights_sha256: str = ""
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: Variant | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs; each score reads one of them (see `leepfrog.scoring.definition`)."""
        return (PROBS_OUTPUT, FEATURES_OUTPUT) if self.has_probs else (FEATURES_OUTPUT,)

    def to_props(self) -> dict[str, str]:
        """Encode as `metadata_props`: JSON text by key."""
        values = {**vars(self), "preprocess": self.preprocess.as_dict(), "format_version": FORMAT_VERSION}
        values["variant"] = dataclasses.asdict(self.variant) if self.variant else None
        return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ModelMetadata:
        """Decode the `metadata_props` written by `to_props`.

        Raises:
            ModelError: leepfrog metadata is missing, of an unsupported format version, or invalid.
        """
        entries = {key.removeprefix(PREFIX): text for key, text in props.items() if key.startswith(PREFIX)}
        if "format_version" not in entries:
            if any(key.startswith(PROBE_PREFIX) for key in props):
                raise ModelError("is a probe, not a scoring model; the scoring model is in the same folder")
            raise ModelError("not a scoring model yet")
        try:
            values = {key: stated.parsed(text) for key, text in entries.items()}
        except ValueError as error:
            raise ModelError(f"metadata is not JSON: {error}") from None
        version = values.pop("format_version")
        if version not in READABLE_VERSIONS:
            raise ModelError(
                f"metadata has format {stated.shown(version)}, this leepfrog reads {FORMAT_VERSION}; export it again "
                "or upgrade"
            )
        if version == 1:
            values |= {"has_probs": True, "license": values.pop("licence", "")}
        try:
            return cls._read(values)
        except KeyError as error:
            raise ModelError(f"metadata is incomplete: {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"metadata is invalid: {error}") from None

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> ModelMetadata:
        labels, variant, macs, top1 = (values.get(key) for key in ("labels", "variant", "macs", "top1"))
        if not isinstance(labels or [], list) or len(labels or ()) > stated.WIDEST:
            raise ValueError(f"labels is {stated.shown(labels)}, not a list of names")
        return cls(
            name=stated.name(values["name"], "name"),
            source=stated.text(values["source"], "source"),
            preprocess=PreprocessSpec.from_dict(values["preprocess"]),
            has_probs=stated.truth(values["has_probs"], "has_probs"),
            labels=tuple(stated.text(label, "a label", stated.LONGEST_NAME) for label in labels or ()),
            license=stated.text(values.get("license", ""), "license"),
            n_parameters=stated.whole(values.get("n_parameters", 0), "n_parameters"),
            macs=None if macs is None else stated.whole(macs, "macs"),
            top1=None if top1 is None else stated.number(top1, "top1", 0, 100),
            weights_sha256=stated.text(values.get("weights_sha256", ""), "weights_sha256"),
            parity=_measured(values.get("parity", {}), "parity"),
            variant=Variant.from_dict(variant) if variant else None,
        )


# Measurements of variants, and the numeric measurements of all models.
_OF_VARIANTS = ("top1_agreement", "features_cosine", "n_inputs")
_NUMBERS = (*_OF_VARIANTS, "max_difference", "batch_difference", "tolerance")


def _measured(values: object, what: str, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check measurements by name, which must include the names in `needs`."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} is {stated.shown(values)}, not measurements by name")
    for key in {*needs} | {*_NUMBERS} & values.keys():
        if key in _NUMBERS:
            stated.number(values[key], f"{what}.{key}")
        else:
            stated.text(values[key], f"{what}.{key}")
    measurements: dict[str, Any] = stated.cleaned(values, what)
    return measurements
