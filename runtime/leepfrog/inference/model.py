"""Scoring models: the file on disk, and a session that runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leepfrog import stated
from leepfrog.arguments import StrPath
from leepfrog.errors import MachineError, ModelError, UsageError
from leepfrog.files import printable, sha256_of
from leepfrog.inference.consistency import first_refused, inconsistencies
from leepfrog.inference.header import Fingerprint, Header, fingerprint, operators, read_header
from leepfrog.inference.load import load_file, read_bytes
from leepfrog.inference.metadata import IMAGE_INPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.kernels.rows import ROW_SUM_TOLERANCE

BatchOutputs = tuple[NDArray[np.float32] | None, NDArray[np.float32]]
"""probs [n, Z], None if the model outputs none, and features [n, D]."""


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A scoring model on disk whose header has been read; the network is not loaded.

    Attributes:
        path: path of the file.
        sha256: hash of the file's bytes, 64 hexadecimal digits.
        fingerprint: hashes of the network, excluding the metadata.
        size: size in bytes.
        header: versions and metadata as stored in the file.
        metadata: leepfrog's metadata, decoded from the header.
        mark: suffix that distinguishes models with the same name; empty if the name is unique.

    >>> import leepfrog.paths
    >>> model = ModelFile.read(leepfrog.paths.models() / "mobilenet_v2.onnx")
    >>> model.name, model.metadata.has_probs
    ('mobilenet_v2', True)
    """

    path: Path
    sha256: str
    fingerprint: Fingerprint
    size: int
    header: Header
    metadata: ModelMetadata
    mark: str = ""

    @property
    def name(self) -> str:
        """Name of the model in the zoo, followed by its mark."""
        return self.metadata.name + self.mark

    @classmethod
    def read(cls, path: StrPath) -> ModelFile:
        """Read a scoring model's header and hash.

        Raises:
            ModelError: the file is missing, broken or was not exported by leepfrog.
        """
        path = Path(path)
        content = read_bytes(path)
        try:
            header = read_header(memoryview(content))
            metadata = ModelMetadata.from_props(header.metadata)
        except ModelError as error:
            reason = str(error)
            if reason == "not a scoring model yet":
                reason += f"; convert it: leepfrog export onnx:{printable(path)} --preprocess PRESET"
            raise ModelError(f"{printable(path)}: {reason:.400}") from None
        return cls(path, sha256_of(content), fingerprint(memoryview(content)), len(content), header, metadata)


def refuse_without_probs(what: str, models: Iterable[ModelFile], remedy: str = "") -> None:
    """Raise a UsageError if `what` needs probs and some of the models do not output them."""
    if without := ", ".join(model.name for model in models if not model.metadata.has_probs):
        raise UsageError(f"{what} needs probabilities over source classes; these models have none: {without}{remedy}")


class Session:
    """A scoring model loaded into onnxruntime.

    Attributes:
        model: the model's file.
        fallback: note about nodes that run on the CPU instead of the device; "" if there are none.
        n_source: number of source classes, Z; None if the model has no probs.
        n_features: feature dimension, D: the input width of the last linear layer, or the output width if the model
            has no such layer.
    """

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        """Load a model.

        Args:
            model: the model's file, unchanged since it was read.
            device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
            threads: number of threads per run.

        Raises:
            ModelError: onnxruntime cannot load the model, or its inputs and outputs violate the contract.
            MachineError: the device is not available.
        """
        self.model = model
        self._session = load_file(model.path, model.sha256, device, threads)
        self.fallback = self._session.fallback
        self.n_source, self.n_features = self._check_contract()

    @property
    def _where(self) -> str:
        return printable(self.model.path)

    def _check_contract(self) -> tuple[int | None, int]:
        inputs, outputs = self._session.get_inputs(), {o.name: o for o in self._session.get_outputs()}
        size, names = list(self.model.metadata.preprocess.input_size), self.model.metadata.outputs
        if [i.name for i in inputs] != [IMAGE_INPUT] or not {*names} <= outputs.keys():
            raise ModelError(f"{self._where}: inputs or outputs are not those of a scoring model; export it again")
        if PROBS_OUTPUT in outputs.keys() - {*names}:
            raise ModelError(
                f"{self._where}: has an output {PROBS_OUTPUT} that its metadata does not declare; export it again"
            )
        shape = inputs[0].shape
        if len(shape) != 4 or shape[1:] != [3, *size] or isinstance(shape[0], int) or inputs[0].type != "tensor(float)":
            raise ModelError(
                f"{self._where}: input is {inputs[0].type} {shape}, but its metadata declares float {['N', 3, *size]}"
            )
        widths = [outputs[name].shape[-1] for name in names]
        if any(len(outputs[name].shape) != 2 or outputs[name].type != "tensor(float)" for name in names):
            raise ModelError(f"{self._where}: outputs are not float matrices with one row per image; export it again")
        if not all(isinstance(width, int) for width in widths):
            raise ModelError(f"{self._where}: output widths are not fixed ({widths}); export it again")
        if max(widths) > stated.WIDEST:
            raise ModelError(
                f"{self._where}: {max(widths):,} values per image; at most {stated.WIDEST:,} can be scored"
            )
        n_source = widths[0] if PROBS_OUTPUT in names else None
        if n_source is not None and n_source < 2:
            raise ModelError(f"{self._where}: {n_source} source class; scores need at least 2")
        return n_source, widths[-1]

    def check_consistent(self, batch: NDArray[np.float32], together: BatchOutputs) -> None:
        """Check that the model's outputs for an image depend on that image alone.

        Args:
            batch: preprocessed images [n, 3, H, W]; the first two are run again.
            together: the result of `run` for this batch.

        Raises:
            ModelError: the outputs are inconsistent, or the model fails.
        """
        names = self.model.metadata.outputs
        differing = inconsistencies(lambda images: _given(self.run(images)), batch, names, _given(together))
        why = first_refused(differing, lambda: operators(memoryview(read_bytes(self.model.path))))
        if why:
            raise ModelError(f"{self._where}: {why}")

    def run(self, batch: NDArray[np.float32], names: Callable[[int], str] = "row {}".format) -> BatchOutputs:
        """Run a batch [n, 3, H, W] float32.

        Args:
            batch: preprocessed images.
            names: returns the name of a row, for error messages.

        Returns:
            probs [n, Z], None if the model outputs none, and features [n, D], both float32.

        Raises:
            ModelError: the model fails, does not return one row per image, or returns NaN, infinity or rows of probs
                that are not distributions.
            MachineError: out of memory.
        """
        try:
            *predictions, features = self._session.run(list(self.model.metadata.outputs), {IMAGE_INPUT: batch})
        except (ModelError, MachineError) as error:
            raise type(error)(f"{self._where}: {error}") from None
        probs: NDArray[np.float32] | None = predictions[0] if predictions else None
        shapes = tuple(rows.shape for rows in (*predictions, features))
        wanted = tuple((len(batch), width) for width in (self.n_source, self.n_features) if width is not None)
        if shapes != wanted:
            raise ModelError(f"{self._where}: output shapes are {shapes} for {len(batch)} image(s), not {wanted}")
        if problem := problem_of_rows(probs, features):
            row, what = problem
            raise ModelError(f"{self._where}: outputs {what} for {names(row)}; it cannot be scored")
        return probs, features


def problem_of_rows(probs: NDArray[np.float32] | None, features: NDArray[np.float32]) -> tuple[int, str] | None:
    """Return the first row whose probs are no distribution or whose features are not finite, and the problem."""
    finite = np.asarray(np.isfinite(features).all(axis=1))
    sums = np.ones(len(features)) if probs is None else probs.sum(axis=1, dtype=np.float64)
    good = finite & (np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE)
    if probs is not None:
        good &= probs.min(axis=1) >= 0
    if good.all():
        return None
    row = int(np.argmin(good))
    if not np.isfinite(sums[row]):
        return row, "NaN or infinity"
    if not finite[row]:
        return row, "features with NaN or infinity"
    if abs(sums[row] - 1.0) <= ROW_SUM_TOLERANCE:
        return row, "negative probabilities"
    return row, f"probabilities that sum to {sums[row]:.6g}"


def _given(outputs: BatchOutputs) -> list[NDArray[np.float32]]:
    return [rows for rows in outputs if rows is not None]
