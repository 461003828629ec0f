"""What leepfrog needs to know of an execution provider."""

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
        name: on the command line.
        provider: onnxruntime's name of it.
        options: of the provider, as texts. They may change outputs, so they are part of the cache's keys and of
            receipts.
        threads_option: the provider's option that takes the number of threads; "" where onnxruntime's own is obeyed.
        images_forward, images_backward: images in one run of a scoring model, and of a probe.
        lanes: "cores" for a session with one thread on each core; "single" for one session at a time.
        uses_cores: whether it computes on this machine's cores, where other programs disturb its latencies.
        may_fall_back: whether most nodes of a model may run on the CPU instead.
        install: how to get an onnxruntime that has it, as a command or a sentence.
        when_it_fails: what to look at where it is there but does not start.
        words: lower-case words by which one of its errors is known.
        hardware: names the accelerators in this machine, so that latencies measured on others do not count.

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
        """Execution providers in order of preference, with their options: the CPU's runs what this one cannot."""
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
