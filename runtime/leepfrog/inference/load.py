"""Load ONNX files into onnxruntime sessions, with one-line error messages."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from leepfrog.errors import LeepfrogError, MachineError, ModelError, one_line
from leepfrog.files import LARGEST_BINARY, printable, read_regular, sha256_of
from leepfrog.inference.bounded import BoundedSession, load_bounded
from leepfrog.inference.device import OPTIONS_VARIABLE, ort_options, providers, session_options
from leepfrog.inference.devices import DEVICES
from leepfrog.inference.devices.base import CPU_PROVIDER, Device
from leepfrog.inference.header import Header, read_header


def load_file(path: Path, sha256: str, device: str, threads: int) -> BoundedSession:
    """Load a file into an onnxruntime session on the requested device.

    Args:
        path: path of the model file.
        sha256: expected hash of the file.
        device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
        threads: number of threads per run.

    Raises:
        ModelError: the file has changed since it was hashed, or onnxruntime cannot load it.
        MachineError: the device is not available.
    """
    where, kind = printable(path), DEVICES.named(device)
    execution_providers = providers(device, threads)
    content = read_bytes(path)
    if sha256_of(content) != sha256:
        raise ModelError(f"{where}: the file changed while it was being used; run again")
    options = session_options(threads)
    # The hash covers this file alone, so weights in other files must not be loaded. No such folder can exist.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", f"{os.devnull}/external-data-is-not-allowed"
    )
    if kind.provider != CPU_PROVIDER:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = load(content, options, execution_providers, kind)
    except ModelError as error:
        settings = " ".join(f"{key}={value}" for key, value in ort_options().items())
        raise ModelError(f"{where}: {error}" + (f" (with {OPTIONS_VARIABLE}={settings})" if settings else "")) from None
    provider = session.get_providers()[0]
    if provider != kind.provider:  # onnxruntime only warns when it falls back to the CPU
        raise MachineError(
            f"onnxruntime fell back from {kind.provider} to {provider}: {kind.when_it_fails}; see leepfrog doctor"
        )
    try:
        session.fallback = fallback(nodes_by_provider(session), kind)
    except MachineError as error:
        raise MachineError(f"{where}: {error}") from None
    return session


def nodes_by_provider(session: onnxruntime.InferenceSession) -> dict[str, Counter[str]]:
    """Count nodes by execution provider and operator; empty if onnxruntime does not report the assignment.

    `get_providers` is not enough: onnxruntime also lists providers that run no nodes.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # older onnxruntime, or the assignment is not recorded
        return {}
    for part in parts:
        counts[part.ep_name].update(node.op_type for node in part.get_nodes())
    return dict(counts)


def fallback(nodes: Mapping[str, Counter[str]], device: Device) -> str:
    """Describe the nodes that do not run on the requested provider; "" if there are none.

    Raises:
        MachineError: most nodes fall back to the CPU, and the device does not allow that.
    """
    provider = device.provider
    total = sum(count.total() for count in nodes.values())
    elsewhere = sum((count for name, count in nodes.items() if name != provider), Counter[str]())
    if not elsewhere:
        return ""
    most = ", ".join(f"{operator} ({n})" for operator, n in elsewhere.most_common(5))
    note = f"{elsewhere.total()} of {total} nodes run on the CPU instead of {provider}: {printable(most)}"
    if 2 * elsewhere.total() > total and not device.may_fall_back:
        raise MachineError(f"{note}; use --device cpu, or export the model with operators that {provider} supports")
    return note


def load(
    content: bytes,
    options: onnxruntime.SessionOptions | None = None,
    execution_providers: Sequence[tuple[str, dict[str, str]]] = ((CPU_PROVIDER, {}),),
    device: Device | None = None,
    **further: Any,
) -> BoundedSession:
    """Load a model from memory into an onnxruntime session that logs nothing and can be stopped.

    Args:
        content: the model file's bytes.
        options: session options; None for onnxruntime's defaults.
        execution_providers: names and options of the execution providers.
        device: the device, used to distinguish its errors from the model's; None for the CPU.
        further: additional arguments of `InferenceSession`.

    Raises:
        ModelError: onnxruntime rejects the model or takes too long to load it; the message is the reason alone.
        MachineError: the device fails.
    """
    header = read_header(memoryview(content))
    options = options or onnxruntime.SessionOptions()
    # Errors are raised as exceptions; logging them as well would bury our messages.
    options.log_severity_level = 4
    try:
        # Without enable_fallback=0, failures are printed to stdout and the session is retried on the CPU.
        session = load_bounded(content, options, providers=list(execution_providers), enable_fallback=0, **further)
        for value in (*session.get_inputs(), *session.get_outputs()):  # accessing a name that is not UTF-8 raises
            _ = value.name, value.shape
    except LeepfrogError:  # time limit or out of memory
        raise
    except Exception as error:  # onnxruntime's exceptions share no base class
        if device is not None and device.caused(str(error)):
            raise MachineError(f"{device.name} cannot be used: {one_line(error)}; see leepfrog doctor") from None
        raise ModelError(_explain(error, header)) from None
    return session


def _explain(error: Exception, header: Header) -> str:
    """Explain in one line why onnxruntime rejected a model: its requirement and the installed version."""
    text = one_line(error, None)  # not truncated: the relevant part may be at the end
    runtime = f"onnxruntime {onnxruntime.__version__}"
    installed = f"{runtime} is installed"
    if match := re.search(r"max supported IR version: (\d+)", text):
        return f"IR version {header.ir_version} is newer than {match[1]}, the newest that {runtime} reads"
    if match := re.search(r"support for domain (\S+) is till opset (\d+)", text):
        domain = match[1] if match[1] != "ai.onnx" else ""
        needed = header.opsets.get(domain, "?")
        return f"needs opset {needed} of {match[1]}; {installed}, which supports up to {match[2]}; upgrade onnxruntime"
    if match := re.search(r"No Op registered for (\S+)", text) or re.search(r"Fatal error: (\S+?)\(", text):
        return f"uses the operator {match[1]}, which {runtime} does not support"
    if "xternal" in text or "model_path" in text:
        return "stores its weights in another file; export it to a single file: leepfrog export onnx:FILE"
    if "protobuf parsing failed" in text:
        return "not an ONNX model, or cut short"
    return f"{runtime} cannot load it: {one_line(error)}"


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a model file.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        return read_regular(path, LARGEST_BINARY)
    except OSError as error:
        raise ModelError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
