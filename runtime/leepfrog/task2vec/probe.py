"""Probe models: files that give, for an image and the gradient of its features, each filter's squared gradient."""

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

# No window of a convolution is longer; a stranger's file must not make us reserve more memory than there is.
MAX_LENGTH = 1 << 12


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A depthwise convolution of images whose squared gradients are not in `fisher`, but computed from two outputs.

    Attributes:
        seen: output that holds what the layer saw, [N, C, H, W].
        gradient: output that holds the gradient of what it gave, [N, O, P, Q].
        window, strides, dilations, begin: of the convolution, (vertical, horizontal); `begin` is the padding before.
    """

    seen: str
    gradient: str
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begin: tuple[int, int]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Correlation:
        """Read what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
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
    """A layer whose filters a probe looks at.

    Attributes:
        name: what the layer's weights are called.
        kind: "conv", "depthwise" or "linear".
        n_filters: its output channels or units.
        n_weights: weights a filter, over which its squared gradient is averaged.
        correlation: where its squared gradients come from; None if they are columns of `fisher`.
    """

    name: str
    kind: str
    n_filters: int
    n_weights: int
    correlation: Correlation | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ProbeLayer:
        """Read what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
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
    """What a probe model says of itself.

    Attributes:
        name: of the scoring model that it was made from.
        scoring_sha256: hash of that model's file; its features are what the cotangent belongs to.
        preprocess: what its images need.
        layers: in forward order, as their filters stand in an embedding. `fisher` holds those without a correlation.
        n_features: D, the width of the cotangent.
        skipped: layers before the first that are left out.
    """

    name: str
    scoring_sha256: str
    preprocess: PreprocessSpec
    layers: tuple[ProbeLayer, ...]
    n_features: int
    skipped: int = 0

    @property
    def n_filters(self) -> int:
        """F, the width of an embedding."""
        return sum(layer.n_filters for layer in self.layers)

    def to_props(self) -> dict[str, str]:
        """Metadata as `metadata_props`: JSON text by key."""
        values = {
            **vars(self),
            "preprocess": self.preprocess.as_dict(),
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "format_version": FORMAT_VERSION,
        }
        return {PROBE_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ProbeMetadata:
        """Read what `to_props` wrote.

        Raises:
            ModelError: no probe, a newer format, or values that are not understood.
        """
        entries = {key.removeprefix(PROBE_PREFIX): text for key, text in props.items() if key.startswith(PROBE_PREFIX)}
        if "format_version" not in entries:
            raise ModelError("not a probe model; leepfrog export SOURCE --probe makes one")
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
    """A probe model on disk, read but not loaded.

    Attributes:
        path: the file.
        sha256: hash of the file's bytes, 64 hexadecimal digits.
        size: bytes.
        metadata: what the file says of itself.
    """

    path: Path
    sha256: str
    size: int
    metadata: ProbeMetadata

    @classmethod
    def read(cls, path: StrPath) -> ProbeFile:
        """Read a probe model's header and hash.

        Raises:
            ModelError: the file is missing, broken or no probe.
        """
        path = Path(path)
        content = read_bytes(path)
        try:
            metadata = ProbeMetadata.from_props(read_header(memoryview(content)).metadata)
        except ModelError as error:
            raise ModelError(f"{printable(path)}: {error!s:.400}") from None
        return cls(path, sha256_of(content), len(content), metadata)
