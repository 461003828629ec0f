"""The type that describes an execution provider to leepfrog."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal


def _none() -> list[str]:
    return []


@dataclasses.dataclass(frozen=True, eq=False)
class Device:
    """An onnxruntime execution provider, and how models run on it.

    Attributes:
        name: its name on the command line.
        provider: onnxruntime's name of it.
        options: provider options, as strings. They may change outputs, so they are part of cache keys and
            receipts.
        threads_option: the provider's option that sets the number of threads; "" where it uses that of the session.
        images_forward, images_backward: images in one run of a scoring model, and of a probe.
        lanes: "cores" for one single-threaded session per core; "single" for one session at a time.
        uses_cores: whether it computes on this machine's cores, where other programs disturb its latencies.
        may_fall_back: whether most nodes of a model may run on the CPU instead.
        install: how to get an onnxruntime that has it, as a command or a sentence.
        when_it_fails: what to check where it is installed but does not start.
        words: lower-case words that identify its error messages.
        hardware: returns the names of this machine's accelerators, so that latencies of other hardware are not reused.

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
        """Execution providers in order of preference, with their options: the CPU runs what this one cannot."""
        preferred = (self.provider, dict(self.options))
        return [preferred] if self.provider == CPU_PROVIDER else [preferred, (CPU_PROVIDER, {})]

    def providers_with(self, threads: int) -> list[tuple[str, dict[str, str]]]:
        """The same for a session with this many threads."""
        providers = self.providers
        if self.threads_option:
            providers[0][1][self.threads_option] = str(threads)
        return providers

    def caused(self, message: str) -> bool:
        """Whether an error message is the device's, not the model's."""
        return any(word in message.lower() for word in self.words)


CPU_PROVIDER = "CPUExecutionProvider"
