"""Probe models, which map an image and the gradient of its features to the squared gradient of each filter."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leepfrog import stated
from leepfrog.arguments import StrPath
from leepfrog.errors import ModelError
from leepfrog.files import printable, sha256_of
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.header import read_header
from leepfrog.inference.load import read_bytes
from leepfrog.inference.metadata import PROBE_PREFIX

FORMAT_VERSION = 1

COTANGENT_INPUT = "cotangent"
FISHER_OUTPUT = "fisher"

KINDS = ("conv", "depthwise", "linear")

# Limit on convolution windows, above all real ones; a malicious file must not make us allocate too much memory.
MAX_LENGTH = 1 << 12


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A depthwise convolution whose squared gradients are not in `fisher` but computed from two outputs of the probe.

    The pairs are (vertical, horizontal).

    Attributes:
        seen: name of the output with the layer's input, [N, C, H, W].
        gradient: name of the output with the gradient of the layer's output, [N, O, P, Q].
        window: size of the convolution window.
        strides: strides of the convolution.
        dilations: dilations of the convolution.
        begin: padding before the first row and column.
    """

    seen: str
    gradient: str
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begin: tuple[int, int]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Correlation:
        """Decode the output of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: the values are incomplete or invalid.
        """
        pairs = {key: _pair(values[key], key) for key in ("window", "strides", "dilations", "begin")}
        return cls(
            seen=stated.name(values["seen"], "seen"), gradient=stated.name(values["gradient"], "gradient"), **pairs
        )


def _pair(value: Any, key: str) -> tuple[int, int]:
    first, second = (stated.whole(n, key, 0 if key == "begin" else 1, MAX_LENGTH) for n in value)
    return first, second


@dataclasses.dataclass(frozen=True)
class ProbeLayer:
    """A layer that a probe covers.

    Attributes:
        name: name of the layer's weights.
        kind: "conv", "depthwise" or "linear".
        n_filters: number of output channels or units.
        n_weights: number of weights per filter, over which the squared gradient is averaged.
        correlation: how to compute the squared gradients; None if they are columns of `fisher`.
    """

    name: str
    kind: str
    n_filters: int
    n_weights: int
    correlation: Correlation | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ProbeLayer:
        """Decode the output of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: the values are incomplete or invalid.
        """
        if values["kind"] not in KINDS:
            raise ValueError(f"a layer's kind is {stated.shown(values['kind'])}, not one of {', '.join(KINDS)}")
        outside = values["correlation"]
        return cls(
            stated.name(values["name"], "a layer's name"),
            values["kind"],
            stated.whole(values["n_filters"], "n_filters", 1, stated.MOST_FILTERS),
            stated.whole(values["n_weights"], "n_weights", 1),
            None if outside is None else Correlation.from_json(outside),
        )


@dataclasses.dataclass(frozen=True)
class ProbeMetadata:
    """Metadata stored in a probe model.

    Attributes:
        name: name of the scoring model that the probe was exported from.
        scoring_sha256: hash of the scoring model's file; the cotangent is a gradient of this model's features.
        preprocess: preprocessing of input images.
        layers: layers in forward order, the order of their filters in an embedding. `fisher` contains the layers
            without a correlation.
        n_features: width of the cotangent, D.
        skipped: number of layers before the first layer of `layers` that the probe does not cover.
    """

    name: str
    scoring_sha256: str
    preprocess: PreprocessSpec
    layers: tuple[ProbeLayer, ...]
    n_features: int
    skipped: int = 0

    @property
    def n_filters(self) -> int:
        """Number of filters, F, which is the width of an embedding."""
        return sum(layer.n_filters for layer in self.layers)

    def to_props(self) -> dict[str, str]:
        """Encode as `metadata_props`: JSON text by key."""
        values = {
            **vars(self),
            "preprocess": self.preprocess.as_dict(),
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "format_version": FORMAT_VERSION,
        }
        return {PROBE_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ProbeMetadata:
        """Decode the `metadata_props` written by `to_props`.

        Raises:
            ModelError: not a probe, an unsupported format version, or invalid values.
        """
        entries = {key.removeprefix(PROBE_PREFIX): text for key, text in props.items() if key.startswith(PROBE_PREFIX)}
        if "format_version" not in entries:
            raise ModelError("not a probe model; create one with leepfrog export SOURCE --probe")
        try:
            values = {key: stated.parsed(text) for key, text in entries.items()}
        except ValueError as error:
            raise ModelError(f"metadata is not JSON: {error}") from None
        if values["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"probe metadata has format {stated.shown(values['format_version'])}, this leepfrog reads "
                f"{FORMAT_VERSION}; export it again or upgrade"
            )
        try:
            layers = tuple(map(ProbeLayer.from_json, values["layers"]))
            stated.whole(len(layers), "the number of layers", 1, stated.MOST_LAYERS)
            stated.whole(sum(layer.n_filters for layer in layers), "the number of filters", 1, stated.MOST_FILTERS)
            return cls(
                name=stated.name(values["name"], "name"),
                scoring_sha256=stated.text(values["scoring_sha256"], "scoring_sha256"),
                preprocess=PreprocessSpec.from_dict(values["preprocess"]),
                layers=layers,
                n_features=stated.whole(values["n_features"], "n_features", 1, stated.WIDEST),
                skipped=stated.whole(values["skipped"], "skipped", 0, stated.MOST_LAYERS),
            )
        except KeyError as error:
            raise ModelError(f"probe metadata is incomplete: {error}") from None
        except (TypeError, ValueError) as error:
            raise ModelError(f"probe metadata is invalid: {error}") from None


@dataclasses.dataclass(frozen=True)
class ProbeFile:
    """A probe model on disk whose header has been read; the network is not loaded.

    Attributes:
        path: path of the file.
        sha256: hash of the file's bytes, 64 hexadecimal digits.
        size: size in bytes.
        metadata: metadata stored in the file.
    """

    path: Path
    sha256: str
    size: int
    metadata: ProbeMetadata

    @classmethod
    def read(cls, path: StrPath) -> ProbeFile:
        """Read a probe model's header and hash.

        Raises:
            ModelError: the file is missing, broken or not a probe.
        """
        path = Path(path)
        content = read_bytes(path)
        try:
            metadata = ProbeMetadata.from_props(read_header(memoryview(content)).metadata)
        except ModelError as error:
            raise ModelError(f"{printable(path)}: {error!s:.400}") from None
        return cls(path, sha256_of(content), len(content), metadata)
