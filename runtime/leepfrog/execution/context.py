"""The execution environment: device, threads, cache, runner, progress."""

from __future__ import annotations

import dataclasses

from leepfrog.arguments import StrPath
from leepfrog.errors import UsageError
from leepfrog.execution.runner import LocalRunner, Runner
from leepfrog.inference.choices import DEFAULT_DEVICE, HERE
from leepfrog.inference.device import available_threads, check_execution
from leepfrog.progress import Progress, SilentProgress

_LOCAL, _SILENT = LocalRunner(), SilentProgress()


@dataclasses.dataclass(frozen=True)
class RunContext:
    """Execution environment of a command. The task itself is a request, such as `RankRequest`.

    Attributes:
        device: name of the device (see `leepfrog.inference.devices`). `""` is the CPU or, if a result is rerun, the
            device of the first run.
        threads: number of cores to use; None for all cores available to this process.
        batch_size: images per batch; None for the default of the device.
        strict: whether a bad image is an error instead of being skipped.
        costs: name of the place whose costs are used (see `leepfrog.costs.places`). `""` is this machine or, if a
            result is rerun, the place of the first run.
        measure_again: whether costs are measured again instead of reused from an earlier run.
        measure_seconds: measuring time in seconds, spent once on single images and once on batches; None for the
            default of the place.
        cache: folder for cached model outputs, but not for measured costs; None for leepfrog's default.
        runner: runner that runs models on images.
        progress: receiver of progress reports.

    >>> RunContext(device="cuda").replace(threads=4)
    RunContext(device='cuda', threads=4)
    """

    device: str = ""
    threads: int | None = None
    batch_size: int | None = None
    strict: bool = False
    costs: str = ""
    measure_again: bool = False
    measure_seconds: float | None = None
    cache: StrPath | None = None
    runner: Runner = _LOCAL
    progress: Progress = _SILENT

    @property
    def cores(self) -> int:
        """Number of cores to use: `threads`, or all cores available to this process."""
        return self.threads or available_threads()

    def replace(self, **changes: object) -> RunContext:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # checked by __init__

    def checked(self) -> RunContext:
        """Return a validated copy with the defaults for device, threads and costs filled in.

        It is called before any work starts. The name of the place is only checked when costs are looked up.

        Raises:
            UsageError: the device is unknown, or a number is out of range.
            MachineError: the device is not available.
        """
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {self.batch_size}")
        device, costs = self.device or DEFAULT_DEVICE, self.costs or HERE
        check_execution(device, self.threads)
        return dataclasses.replace(self, device=device, threads=self.cores, costs=costs)

    def __repr__(self) -> str:
        values = [(field, getattr(self, field.name)) for field in dataclasses.fields(self)]
        shown = [f"{field.name}={value!r}" for field, value in values if value != field.default]
        return f"RunContext({', '.join(shown)})"
