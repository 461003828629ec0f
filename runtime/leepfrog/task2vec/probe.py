"""Probe models: files that give, for an image and the gradient of its features, each filter's squared gradient."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        pairs = {key: tuple(values[key]) for key in ("window", "strides", "dilations", "begin")}
        found = cls(seen=values["seen"], gradient=values["gradient"], **pairs)
        numbers = [*found.window, *found.strides, *found.dilations, *(n + 1 for n in found.begin)]
        if len(numbers) != 8 or any(type(n) is not int or not 0 < n < MAX_LENGTH for n in numbers):
            raise ValueError("a window is none")
        if not isinstance(found.seen, str) or not isinstance(found.gradient, str):
            raise TypeError("a value's name is none")
        return found


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
        outside = values["correlation"]
        return cls(
            values["name"],
            values["kind"],
            values["n_filters"],
            values["n_weights"],
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
        own = {key.removeprefix(PROBE_PREFIX): text for key, text in props.items() if key.startswith(PROBE_PREFIX)}
        if "format_version" not in own:
            raise ModelError("not a probe model; leepfrog export SOURCE --probe makes one")
        try:
            values = {key: json.loads(text) for key, text in own.items()}
        except (ValueError, RecursionError) as error:  # nested too deeply
            raise ModelError(f"metadata is not JSON: {error}") from None
        if values["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"probe metadata has format {str(values['format_version'])[:20]}, this leepfrog reads "
                f"{FORMAT_VERSION}; export it again or upgrade"
            )
        try:
            metadata = cls(
                name=values["name"],
                scoring_sha256=values["scoring_sha256"],
                preprocess=PreprocessSpec.from_dict(values["preprocess"]),
                layers=tuple(map(ProbeLayer.from_json, values["layers"])),
                n_features=values["n_features"],
                skipped=values["skipped"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"probe metadata is incomplete: {error}") from None
        metadata._check()
        return metadata

    def _check(self) -> None:
        """What a stranger's file may hold instead would fail far from here."""
        numbers = [self.n_features, *(n for layer in self.layers for n in (layer.n_filters, layer.n_weights))]
        if not self.layers or any(type(n) is not int or n < 1 for n in numbers):
            raise ModelError("probe metadata is not understood: a layer without filters")
        if type(self.skipped) is not int or self.skipped < 0:
            raise ModelError(f"probe metadata is not understood: skipped is {str(self.skipped)[:80]!r}")
        texts = [self.name, self.scoring_sha256, *(layer.name for layer in self.layers)]
        if not all(isinstance(text, str) for text in texts) or any(layer.kind not in KINDS for layer in self.layers):
            raise ModelError("probe metadata is not understood: a name or kind is none")


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
            raise ModelError(f"{printable(path)}: {error}") from None
        return cls(path, sha256_of(content), len(content), metadata)
