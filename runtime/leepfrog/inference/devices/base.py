"""Description of an onnxruntime execution provider."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal


def _none() -> list[str]:
    return []


@dataclasses.dataclass(frozen=True, eq=False)
class Device:
    """An onnxruntime execution provider and the settings for running models on it.

    Attributes:
        name: name of the device on the command line.
        provider: onnxruntime's name of the execution provider.
        options: provider options, as strings. They may change outputs, so they are part of cache keys and receipts.
        threads_option: provider option that sets the number of threads; "" if the provider uses the session's threads.
        images_forward: batch size for running scoring models.
        images_backward: batch size for running probes.
        lanes: "cores" for one single-threaded run per core at a time; "single" for one run at a time.
        uses_cores: whether it computes on the CPU cores, where other programs disturb latency measurements.
        may_fall_back: whether most nodes of a model may run on the CPU instead.
        install: how to install an onnxruntime with this provider, as a command or a sentence.
        when_it_fails: likely cause if the provider is installed but does not start.
        words: lower-case words that identify the provider's error messages.
        hardware: returns the names of this machine's accelerators, so that latencies measured on other hardware are not
            reused.

    >>> Device("npu", "ExampleExecutionProvider").images_forward
    4
    """

    name: str
    provider: str
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    threads_option: str = ""
    images_forward: int = 4
    images_backward: int = 1
    lanes: Literal["cores", "single"] = "single"
    uses_cores: bool = False
    may_fall_back: bool = False
    install: str = ""
    when_it_fails: str = ""
    words: tuple[str, ...] = ()
    hardware: Callable[[], list[str]] = _none

    @property
    def providers(self) -> list[tuple[str, dict[str, str]]]:
        """Execution providers and options in order of preference, with the CPU provider as fallback."""
        preferred = (self.provider, dict(self.options))
        return [preferred] if self.provider == CPU_PROVIDER else [preferred, (CPU_PROVIDER, {})]

    def providers_with(self, threads: int) -> list[tuple[str, dict[str, str]]]:
        """Return `providers`, with the number of threads set if it is a provider option."""
        providers = self.providers
        if self.threads_option:
            providers[0][1][self.threads_option] = str(threads)
        return providers

    def caused(self, message: str) -> bool:
        """Return whether an error message comes from the device, not from the model."""
        return any(word in message.lower() for word in self.words)


CPU_PROVIDER = "CPUExecutionProvider"
