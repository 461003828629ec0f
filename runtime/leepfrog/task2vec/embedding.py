"""Task embeddings and their files."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog import stated
from leepfrog.arguments import StrPath, as_path
from leepfrog.arrays import array_of, numbers, same_fields
from leepfrog.errors import EmbeddingError, one_line
from leepfrog.files import printable, read_regular, write_whole
from leepfrog.receipts.receipt import Receipt
from leepfrog.results import MEASURED
from leepfrog.task2vec.fisher import self_distance

Floats = NDArray[np.float64]

FORMAT_VERSION = 1

# Limit on the unpacked size of a file, about 100 times the size for the largest network.
MAX_BYTES = 1 << 27


@dataclasses.dataclass(frozen=True)
class EmbeddedLayer:
    """A layer of an embedding.

    Attributes:
        name: name of the layer.
        kind: "conv", "depthwise", "linear" or "head".
        n_filters: number of filters.
    """

    name: str
    kind: str
    n_filters: int


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A task represented by the diagonal Fisher information of a network's filters.

    Two embeddings are equal if all their fields are equal.

    Attributes:
        name: name of the task.
        network: SHA-256 of the scoring model that the filters belong to.
        layers: layers in the order of their filters in `vector`.
        vector: Fisher information of each filter, [F], non-negative.
        standard_errors: standard errors of `vector` as a mean over images, [F]; NaN for a single image.
        made: inputs, parameters and receipt of the computation, as JSON values.

    >>> import leepfrog
    >>> embedding = leepfrog.embed("PHOTOS", "mobilenet_v2")
    >>> embedding.save("photos.npz")
    >>> Embedding.load("photos.npz") == embedding
    True
    """

    kind: ClassVar = "embedding"

    name: str = dataclasses.field(metadata=MEASURED)
    network: str
    layers: tuple[EmbeddedLayer, ...]
    vector: Floats
    standard_errors: Floats = dataclasses.field(metadata=MEASURED)
    made: dict[str, Any] = dataclasses.field(default_factory=dict, metadata=MEASURED)

    @property
    def receipt(self) -> Receipt:
        """Receipt of the computation; UsageError if it is missing or invalid."""
        return Receipt.from_dict(self.made.get("receipt"))

    def __post_init__(self) -> None:
        """Check shapes and values."""
        for field in ("vector", "standard_errors"):
            values = numbers(getattr(self, field), field, EmbeddingError)
            object.__setattr__(self, field, values.astype(np.float64, copy=False))
        n = sum(layer.n_filters for layer in self.layers)
        if self.vector.shape != (n,) or self.standard_errors.shape != (n,) or not n:
            raise EmbeddingError(
                f"vector has shape {self.vector.shape} and standard_errors {self.standard_errors.shape}, but the layer "
                f"table has {n} filters"
            )
        if not np.isfinite(self.vector).all() or self.vector.min() < 0:
            raise EmbeddingError("values are negative or not finite")
        if np.isinf(self.standard_errors).any() or np.nanmin(self.standard_errors, initial=0) < 0:
            raise EmbeddingError("standard errors are negative or infinite")
        if not self.vector.any():
            raise EmbeddingError("all values are 0: the head predicts every image with certainty")
        if not 1e-100 < self.vector.max() < 1e100:  # sums and ratios would overflow
            raise EmbeddingError(f"values up to {self.vector.max():.3g} are out of range for squared gradients")

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    def __repr__(self) -> str:
        return f"Embedding({self.name!r}, {len(self.vector)} filters of {len(self.layers)} layers of {_network(self)})"

    @property
    def self_distance(self) -> float:
        """Approximate distance to another embedding of the same task; see `leepfrog.task2vec.fisher.self_distance`."""
        return self_distance(self.vector, self.standard_errors)

    def last(self, depth: int) -> Embedding:
        """Return the embedding restricted to the last `depth` layers."""
        layers = self.layers[-depth:]
        n = sum(layer.n_filters for layer in layers)
        return dataclasses.replace(
            self, layers=layers, vector=self.vector[-n:], standard_errors=self.standard_errors[-n:]
        )

    def save(self, path: StrPath) -> None:
        """Write a `.npz` file of arrays and JSON text, without pickles; equal embeddings give identical files.

        Raises:
            MachineError: the file cannot be written.
            UsageError: the path is empty.
        """
        layers = [dataclasses.astuple(layer) for layer in self.layers]
        header = {"format_version": FORMAT_VERSION, "name": self.name, "network": self.network, "layers": layers}
        arrays = {
            "vector": self.vector,
            "standard_errors": self.standard_errors,
            "header": np.array(json.dumps({**header, "made": self.made})),
        }
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, array, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        write_whole(as_path(path, "an embedding"), stream.getvalue())

    @classmethod
    def load(cls, path: StrPath) -> Embedding:
        """Read a file written by `save`.

        Raises:
            EmbeddingError: the file is missing, broken or not an embedding.
        """
        try:
            return cls._read(Path(path))
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
        except EmbeddingError as error:
            reason = str(error)
        # zipfile, NumPy and json raise many kinds of errors on malformed or malicious files.
        except Exception as error:
            reason = f"is not a task embedding: {one_line(error)}"
        raise EmbeddingError(f"{printable(os.fspath(path))}: {reason}; create one with leepfrog embed")

    @classmethod
    def _read(cls, path: Path) -> Embedding:
        content = read_regular(path, MAX_BYTES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise EmbeddingError(f"unpacks to more than {MAX_BYTES >> 20} MiB")
            read, vector, errors = (
                array_of(archive.read(f"{name}.npy")) for name in ("header", "vector", "standard_errors")
            )
        header = stated.parsed(str(read))
        if header["format_version"] != FORMAT_VERSION:
            raise EmbeddingError(f"has format {stated.shown(header['format_version'])}, this leepfrog reads 1")
        layers = tuple(_layer(*layer) for layer in header["layers"])
        stated.whole(len(layers), "the number of layers", 1, stated.MOST_LAYERS)
        if not isinstance(header["made"], dict):
            raise EmbeddingError("the entry 'made' is missing or invalid")
        name, network = stated.name(header["name"], "name"), stated.text(header["network"], "network")
        return cls(name, network, layers, vector, errors, stated.cleaned(header["made"], "made"))


def _layer(name: Any, kind: Any, n_filters: Any) -> EmbeddedLayer:
    return EmbeddedLayer(
        stated.name(name, "a layer's name"),
        stated.name(kind, "a layer's kind"),
        stated.whole(n_filters, "a layer's filters", 1, stated.MOST_FILTERS),
    )


def check_comparable(embeddings: Sequence[Embedding]) -> None:
    """Check that embeddings are of the same layers of the same network.

    Raises:
        EmbeddingError: two embeddings differ; the message names both and the difference.
    """
    first = embeddings[0]
    for other in embeddings[1:]:
        both = f"{printable(first.name)} and {printable(other.name)}"
        if other.network != first.network:
            raise EmbeddingError(
                f"{both} were embedded by different networks ({_network(first)}, {_network(other)}); "
                "embed both with the same probe"
            )
        if other.layers != first.layers:
            raise EmbeddingError(
                f"{both} are embeddings of different layers of one network ({len(first.layers)} and "
                f"{len(other.layers)}); export both probes with the same --depth, or compare only the last layers"
            )


def _network(embedding: Embedding) -> str:
    return f"{printable(str(embedding.made.get('probe', 'unknown')))} {printable(embedding.network[:8])}"
