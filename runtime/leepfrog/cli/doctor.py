"""leepfrog doctor: check the installation, its devices and its folders."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import typer

from leepfrog import paths
from leepfrog.cli.address_space import shortage
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.errors import MachineError
from leepfrog.files import open_regular, write_whole
from leepfrog.listings import Diagnosis
from leepfrog.tables import Table

RUNTIME = ("leepfrog", "onnxruntime", "numpy", "numba", "pillow", "scipy", "typer")
EXPORT = ("torch", "torchvision", "timm", "onnx", "onnxscript")

SHOWN = 5


@result_options(with_quiet=True)
def doctor(*, out: ResultOptions) -> None:
    """Show versions, devices, threads and folders, and report problems. Exits with 4 if there are any."""
    diagnosis = examine()
    facts = [*diagnosis.facts.items()]
    problems = [("problem", problem) for problem in diagnosis.problems]
    found = Table(("what", "found"), facts, (False, False))
    lines = [f"problem: {problem}" for problem in diagnosis.problems] or ["no problems found"]
    records = [{"what": what, "found": value} for what, value in facts + problems]
    out.emit(out.text(diagnosis, [found, lines], records))
    if diagnosis.problems:
        raise typer.Exit(4)


def examine() -> Diagnosis:
    """Examine versions, devices, threads and folders."""
    problems: list[str] = []
    facts = {"python": sys.version.split()[0]}
    wheels = onnxruntime_wheels()
    facts |= {name: _version(name) or "missing" for name in RUNTIME}
    if len(wheels) == 1:  # onnxruntime-gpu, -openvino and others provide onnxruntime, too
        facts["onnxruntime"] = metadata.version(wheels[0])
    facts |= {name: _version(name) or "not installed (export extra)" for name in EXPORT}
    problems += [f"{name} is missing: pip install leepfrog" for name in RUNTIME if facts[name] == "missing"]

    facts["onnxruntime wheels"] = ", ".join(wheels) or "none"
    if len(wheels) > 1:
        problems.append(
            f"{' and '.join(wheels)} are both installed and overwrite each other's files; keep one: "
            f"pip uninstall -y {' '.join(wheels)}, then pip install the one you want"
        )
    if (reason := shortage()) is not None:
        problems.append(reason)
    try:
        import onnxruntime

        from leepfrog.inference.device import available_threads
        from leepfrog.inference.devices import DEVICES

        facts["threads"] = str(available_threads())
        available = onnxruntime.get_available_providers()
        facts["providers"] = ", ".join(available)
        facts["devices"] = ", ".join(name for name in DEVICES.names() if DEVICES.named(name).provider in available)
    except (ImportError, AttributeError, OSError, MemoryError) as error:
        problems.append(f"onnxruntime cannot be imported: {error}; pip install --force-reinstall onnxruntime")
    places = {
        "home": paths.home(),
        "models": paths.models(),
        "downloads": paths.downloads(),
        "cache": paths.inference(),
    }
    for name, folder in places.items():
        count, size, unreadable = _contents(folder)
        facts[name] = f"{folder} ({count} files, {size / 1e6:.1f} MB)"
        if name == "home":  # the other folders are inside it
            problems += [
                f"{error.filename} cannot be read ({error.strerror}); make it readable, or delete it"
                for error in unreadable[:SHOWN]
            ]
            problems += [f"{len(unreadable) - SHOWN} more cannot be read"] * (len(unreadable) > SHOWN)
        if (name == "home" or folder.is_dir()) and (reason := _cannot_write(folder)) is not None:
            problems.append(f"{folder} cannot be written ({reason}); set LEEPFROG_HOME to a writable folder")
    return Diagnosis(facts, tuple(problems))


def onnxruntime_wheels() -> list[str]:
    """Return the installed distributions that unpack into the same `onnxruntime` folder."""
    names = {(dist.metadata["Name"] or "").lower(): dist for dist in metadata.distributions()}
    return sorted(
        name for name, dist in names.items()
        if name == "onnxruntime" or (name.startswith("onnxruntime-") and _unpacks_into("onnxruntime", dist))
    )  # fmt: skip


def _unpacks_into(folder: str, dist: metadata.Distribution) -> bool:
    """Return whether a distribution has files in a folder; onnxruntime-extensions, for example, has a different one."""
    return any(file.parts[0] == folder for file in dist.files or ())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _contents(folder: Path) -> tuple[int, int, list[OSError]]:
    """Return the number of files at any depth, their total size in bytes, and the errors of unreadable ones."""
    count, size = 0, 0
    unreadable: list[OSError] = []
    for where, _, names in os.walk(folder, onerror=unreadable.append):
        for name in names:
            try:
                with open_regular(os.path.join(where, name)) as stream:
                    size += os.fstat(stream.fileno()).st_size
                count += 1
            except OSError as error:
                unreadable.append(error)
    absent = (FileNotFoundError, NotADirectoryError)  # whether a missing folder can be created is tested by writing
    return count, size, [error for error in unreadable if not isinstance(error, absent)]


def _cannot_write(folder: Path) -> str | None:
    probe = folder / ".doctor"
    try:
        write_whole(probe, b"")
        probe.unlink()
    except (MachineError, OSError) as error:
        return str(error)
    return None
