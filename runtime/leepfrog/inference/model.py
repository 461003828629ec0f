"""A scoring model: its file, and a session that runs it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from leepfrog.errors import MachineError, ModelError
from leepfrog.files import printable, sha256_of
from leepfrog.inference.device import PROVIDERS, providers
from leepfrog.inference.header import Header, read_header
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.kernels.rows import ROW_SUM_TOLERANCE

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A scoring model on disk, read but not loaded.

    Attributes:
        path: the file.
        sha256: hash of the file's bytes, 64 hexadecimal digits.
        size: bytes.
        metadata: what the file says of itself.
    """

    path: Path
    sha256: str
    size: int
    header: Header
    metadata: ModelMetadata

    @property
    def name(self) -> str:
        """The model's name in the zoo, printable whatever the file says."""
        return printable(self.metadata.name)

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read a scoring model's header and hash.

        Raises:
            ModelError: the file is missing, broken or not exported by leepfrog.
        """
        content = _read(path)
        try:
            header = read_header(memoryview(content))
            metadata = ModelMetadata.from_props(header.metadata)
        except ModelError as error:
            reason = str(error)
            if reason == "not a scoring model yet":
                reason += f"; make it one: leepfrog export onnx:{printable(path)} --preprocess PRESET"
            raise ModelError(f"{printable(path)}: {reason}") from None
        return cls(path, sha256_of(content), len(content), header, metadata)


class Session:
    """A scoring model loaded into onnxruntime.

    Attributes:
        n_source: Z, its source classes.
        n_features: D, what its last linear layer sees.
        provider: the execution provider really in use.
    """

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        """Load a model.

        Args:
            model: the file; it must not have changed since it was read.
            device: "cpu" or "cuda".
            threads: threads within one run.

        Raises:
            ModelError: onnxruntime cannot load it, or it breaks the contract.
            MachineError: the device is not there.
        """
        self.model = model
        wanted = providers(device)
        content = _read(model.path)
        if sha256_of(content) != model.sha256:
            raise ModelError(f"{self._where}: the file changed while it was being used; run again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The hash covers this file alone, so weights in other files must not be loaded: no such folder can exist.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", f"{os.devnull}/external-data-is-not-allowed"
        )
        try:
            self._session = load(content, options, wanted)
        except ModelError as error:
            raise ModelError(f"{self._where}: {error}") from None
        self.provider: str = self._session.get_providers()[0]
        if self.provider != PROVIDERS[device]:  # onnxruntime only warns when it falls back to the CPU
            raise MachineError(
                f"asked for {PROVIDERS[device]}, onnxruntime fell back to {self.provider}: the driver, CUDA or cuDNN "
                "is missing or of the wrong version; see leepfrog doctor"
            )
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
        if widths[0] < 2:
            raise ModelError(f"{self._where}: {widths[0]} source class; a score needs at least 2")
        return widths[0], widths[1]

    def run(self, batch: NDArray[np.float32], names: Callable[[int], str] = "row {}".format) -> Outputs:
        """Run a batch [n, 3, H, W] float32.

        Args:
            batch: preprocessed images.
            names: what a row is called, should its output be wrong.

        Returns:
            probs [n, Z] and features [n, D], float32.

        Raises:
            ModelError: the model fails on it, or a row of probs is no distribution.
        """
        try:
            probs, features = self._session.run([PROBS_OUTPUT, FEATURES_OUTPUT], {IMAGE_INPUT: batch})
        except Exception as error:
            raise ModelError(f"{self._where}: onnxruntime failed: {_one_line(error)}") from None
        sums = probs.sum(axis=1, dtype=np.float64)
        good = (np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE) & (probs.min(axis=1) >= 0) & np.isfinite(features).all(axis=1)
        if not good.all():
            row = int(np.argmin(good))
            what = f"probabilities that sum to {sums[row]:.6g}" if np.isfinite(sums[row]) else "NaN or infinity"
            if np.isfinite(sums[row]) and not np.isfinite(features[row]).all():
                what = "features with NaN or infinity"
            raise ModelError(f"{self._where}: puts out {what} for {names(row)}; it cannot be scored")
        return probs, features


def load(
    content: bytes,
    options: onnxruntime.SessionOptions | None = None,
    wanted: Sequence[tuple[str, dict[str, Any]]] = (("CPUExecutionProvider", {}),),
) -> onnxruntime.InferenceSession:
    """An onnxruntime session of a model in memory, that prints nothing.

    Raises:
        ModelError: onnxruntime refuses the model; the message is the reason alone.
        MachineError: a GPU that was asked for fails.
    """
    header = read_header(memoryview(content))
    options = options or onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well; printing them too would bury ours
    try:
        # Without enable_fallback=0, each failure is printed to stdout and the CPU tried instead.
        session = onnxruntime.InferenceSession(content, options, providers=list(wanted), enable_fallback=0)
        for value in (*session.get_inputs(), *session.get_outputs()):  # names that are not UTF-8 fail when asked for
            _ = value.name, value.shape
    except Exception as error:  # onnxruntime's exceptions share no base class
        if "cuda" in str(error).lower() and any("CUDA" in name for name, _ in wanted):
            raise MachineError(f"the GPU cannot be used: {_one_line(error)}; see leepfrog doctor") from None
        raise ModelError(_explain(error, header)) from None
    return session


def _explain(error: Exception, header: Header) -> str:
    """One line on why onnxruntime refused a model: what it needs and what is installed."""
    text = " ".join(str(error).split())  # whole: what matters may stand far to the right
    runtime = f"onnxruntime {onnxruntime.__version__}"
    installed = f"{runtime} is installed"
    if match := re.search(r"max supported IR version: (\d+)", text):
        return f"IR version {header.ir_version} is newer than {match[1]}, the newest that {runtime} reads"
    if match := re.search(r"support for domain (\S+) is till opset (\d+)", text):
        domain = match[1] if match[1] != "ai.onnx" else ""
        needed = header.opsets.get(domain, "?")
        return f"needs opset {needed} of {match[1]}; {installed}, which supports up to {match[2]}; upgrade onnxruntime"
    if match := re.search(r"No Op registered for (\S+)", text) or re.search(r"Fatal error: (\S+?)\(", text):
        return f"uses the operator {match[1]}, which is unknown here; {installed}"
    if "xternal" in text or "model_path" in text:
        return "keeps its weights in another file; export it into one file: leepfrog export onnx:FILE"
    if "protobuf parsing failed" in text:
        return "not an ONNX model, or cut short"
    return f"{runtime} cannot load it: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    return text if len(text) <= 300 else text[:300] + " ..."


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
