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
    """The execution environment of a command. What to do is a request, such as `RankRequest`.

    Attributes:
        device: its name (see `leepfrog.inference.devices`); "" for the CPU, or, where a result is run again, for the
            device of the first run.
        threads: cores to use; None for all cores that this process may use.
        batch_size: images in one batch; None for the default of the device.
        strict: raise an error for a bad image instead of skipping it.
        costs: the name of the place whose costs count (see `leepfrog.costs.places`); "" for this machine, or, where a
            result is run again, for the place of the first run.
        measure_again: measure costs again instead of using those of an earlier run.
        measure_seconds: seconds to measure costs, for single images and again for batches; None for the default of the
            place.
        cache: folder of cached model outputs; None for leepfrog's default. Measured costs do not go there.
        runner: runs models on images.
        progress: receives progress reports.

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
        """`threads`, or all cores that this process may use."""
        return self.threads or available_threads()

    def replace(self, **changes: object) -> RunContext:
        """A copy with other values."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # which __init__ checks

    def checked(self) -> RunContext:
        """A copy with the default device, number of threads and place of costs filled in.

        Raises:
            UsageError: an unknown device, or a number out of range. An unknown place is found when costs are looked up.
            MachineError: the device is absent. All of these are raised here, before any work.
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
