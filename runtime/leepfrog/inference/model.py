"""A scoring model: its file, and a session that runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leepfrog import stated
from leepfrog.arguments import StrPath
from leepfrog.errors import MachineError, ModelError
from leepfrog.files import printable, sha256_of
from leepfrog.inference.consistency import first_refused, inconsistencies
from leepfrog.inference.header import Fingerprint, Header, fingerprint, operators, read_header
from leepfrog.inference.load import load_file, read_bytes
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.kernels.rows import ROW_SUM_TOLERANCE

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A scoring model on disk, read but not loaded.

    Attributes:
        path: the file.
        sha256: hash of the file's bytes, 64 hexadecimal digits.
        fingerprint: hashes of the network in it, without what the file says of itself.
        size: bytes.
        header: versions and metadata as they stand in the file.
        metadata: what the file says of itself.
        mark: what tells its name from the same name of another model; "" where no other has it.
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
        """The model's name in the zoo, and its mark."""
        return self.metadata.name + self.mark

    @classmethod
    def read(cls, path: StrPath) -> ModelFile:
        """Read a scoring model's header and hash.

        Raises:
            ModelError: the file is missing, broken or not exported by leepfrog.
        """
        path = Path(path)
        content = read_bytes(path)
        try:
            header = read_header(memoryview(content))
            metadata = ModelMetadata.from_props(header.metadata)
        except ModelError as error:
            reason = str(error)
            if reason == "not a scoring model yet":
                reason += f"; make it one: leepfrog export onnx:{printable(path)} --preprocess PRESET"
            raise ModelError(f"{printable(path)}: {reason:.400}") from None
        return cls(path, sha256_of(content), fingerprint(memoryview(content)), len(content), header, metadata)


class Session:
    """A scoring model loaded into onnxruntime.

    Attributes:
        model: its file.
        provider: the execution provider really in use.
        fallback: a note on nodes that run on the CPU instead, or "".
        n_source: Z, its source classes.
        n_features: D, what its last linear layer sees.
    """

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        """Load a model.

        Args:
            model: the file; it must not have changed since it was read.
            device: its name, such as "cpu" (see `leepfrog.inference.devices`).
            threads: threads within one run.

        Raises:
            ModelError: onnxruntime cannot load it, or it breaks the contract.
            MachineError: the device is not there.
        """
        self.model = model
        self._session = load_file(model.path, model.sha256, device, threads)
        self.provider: str = self._session.get_providers()[0]
        self.fallback = self._session.fallback
        self.n_source, self.n_features = self._check_contract()

    @property
    def _where(self) -> str:
        return printable(self.model.path)

    def _check_contract(self) -> tuple[int, int]:
        inputs, outputs = self._session.get_inputs(), {o.name: o for o in self._session.get_outputs()}
        size = list(self.model.metadata.preprocess.input_size)
        if [i.name for i in inputs] != [IMAGE_INPUT] or not {PROBS_OUTPUT, FEATURES_OUTPUT} <= outputs.keys():
            raise ModelError(f"{self._where}: inputs or outputs are not a scoring model's; export it again")
        shape = inputs[0].shape
        if len(shape) != 4 or shape[1:] != [3, *size] or isinstance(shape[0], int) or inputs[0].type != "tensor(float)":
            raise ModelError(
                f"{self._where}: input is {inputs[0].type} {shape}, but its metadata says float {['N', 3, *size]}"
            )
        widths = [outputs[name].shape[-1] for name in (PROBS_OUTPUT, FEATURES_OUTPUT)]
        if any(
            len(outputs[n].shape) != 2 or outputs[n].type != "tensor(float)" for n in (PROBS_OUTPUT, FEATURES_OUTPUT)
        ):
            raise ModelError(f"{self._where}: outputs are not float rows, one an image; export it again")
        if not all(isinstance(width, int) for width in widths):
            raise ModelError(f"{self._where}: output widths are not fixed ({widths}); export it again")
        if max(widths) > stated.WIDEST:
            raise ModelError(
                f"{self._where}: {max(widths):,} values per image; at most {stated.WIDEST:,} can be scored"
            )
        if widths[0] < 2:
            raise ModelError(f"{self._where}: {widths[0]} source class; a score needs at least 2")
        return widths[0], widths[1]

    def check_consistent(self, batch: NDArray[np.float32], together: Outputs) -> None:
        """Refuse a model whose outputs for an image are not a function of that image.

        Args:
            batch: [n, 3, H, W], of which a few are run again.
            together: what `run` gave for it.

        Raises:
            ModelError: it is such a model, or fails.
        """
        found = inconsistencies(self.run, batch, (PROBS_OUTPUT, FEATURES_OUTPUT), together)
        why = first_refused(found, lambda: operators(memoryview(read_bytes(self.model.path))))
        if why:
            raise ModelError(f"{self._where}: {why}")

    def run(self, batch: NDArray[np.float32], names: Callable[[int], str] = "row {}".format) -> Outputs:
        """Run a batch [n, 3, H, W] float32.

        Args:
            batch: preprocessed images.
            names: what a row is called, should its output be wrong.

        Returns:
            probs [n, Z] and features [n, D], float32.

        Raises:
            ModelError: the model fails on it, gives other rows than one an image, or a row of probs is no distribution.
            MachineError: there is no memory for it.
        """
        try:
            probs, features = self._session.run([PROBS_OUTPUT, FEATURES_OUTPUT], {IMAGE_INPUT: batch})
        except (ModelError, MachineError) as error:
            raise type(error)(f"{self._where}: {error}") from None
        shapes, wanted = (probs.shape, features.shape), ((len(batch), self.n_source), (len(batch), self.n_features))
        if shapes != wanted:
            raise ModelError(f"{self._where}: puts out rows {shapes} for {len(batch)} image(s), not {wanted}")
        if problem := problem_of_rows(probs, features):
            row, what = problem
            raise ModelError(f"{self._where}: puts out {what} for {names(row)}; it cannot be scored")
        return probs, features


def problem_of_rows(probs: NDArray[np.float32], features: NDArray[np.float32]) -> tuple[int, str] | None:
    """The first row that is not a distribution, or whose features are not finite, and what is wrong with it."""
    sums = probs.sum(axis=1, dtype=np.float64)
    good = (np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE) & (probs.min(axis=1) >= 0) & np.isfinite(features).all(axis=1)
    if good.all():
        return None
    row = int(np.argmin(good))
    if not np.isfinite(sums[row]):
        return row, "NaN or infinity"
    if not np.isfinite(features[row]).all():
        return row, "features with NaN or infinity"
    return row, f"probabilities that sum to {sums[row]:.6g}"
