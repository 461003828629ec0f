"""Invalid and unusual data sets: one row per case, with the folder's content, the exit code and the messages."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tally
from commands import Here, Row, heed_permissions, needs_permissions, process, row, snapshot
from leepfrog.images.find import find_images
from photos import pieces
from PIL import Image

pytestmark = pytest.mark.full

RANK = "rank photos -m made"


def lay_out(*paths: str, same: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """Return a function that writes images below `photos`, distinct except for those in `same`; "x/" is a folder."""

    def make(here: Path) -> None:
        cut = pieces("cat", len(paths) + 1)
        for path, pixels in zip(paths, cut[1:], strict=True):
            target = here / "photos" / path
            (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
            if not path.endswith("/"):
                Image.fromarray(cut[0] if path in same else pixels).save(target, "PNG")

    return make


def each(*classes: str, n: int = 2) -> tuple[str, ...]:
    return tuple(f"{name}/{i}.png" for name in classes for i in range(n))


def then(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def make(here: Path) -> None:
        for step in steps:
            step(here)

    return make


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda here: (here / "photos" / name).symlink_to(target)


def table(text: str) -> Callable[[Path], object]:
    return lambda here: (here / "photos.csv").write_text(text)


ROWS = [
    row("missing folder", lambda here: None, RANK, 3, "photos: no such folder or file"),
    row("images without classes", lay_out("1.png", "2.png"), RANK, 3, "it contains 2 unsorted images", "CSV"),
    row("no images", lay_out("a/", "b/"), RANK, 3, "photos: no classes with images"),
    row("an empty folder", lambda here: (here / "photos").mkdir(), RANK, 3, "photos: no class folders"),
    row("one class", lay_out(*each("a")), RANK, 3, "photos: only one class with images ('a')", "at least two"),
    row("splits", lay_out(*each("train/a", "train/b")), RANK, 3, "splits (train), not classes", "photos/train"),
    row("an empty class", lay_out(*each("a", "b"), "c/"), RANK, 0, "class c has no images and was omitted"),
    row("one image per class", lay_out(*each("a", "b", "c", n=1)), RANK, 0, "3 class(es) have a single image"),
    row("two images in total", lay_out("a/1.png", "b/1.png"), RANK, 0, "2 images of 2 classes"),
    row(
        "more classes than images",
        then(lay_out("a/1.png", "b/1.png"), *(lay_out(f"empty{i}/") for i in range(5))), RANK, 0,
        "2 images of 2 classes", "class empty4 has no images",
    ),
    row(
        "more classes than images with features",
        lay_out(*each(*"abcdefghij", n=1)), f"{RANK} -s all", 0, "10 images of 10 classes",
    ),
    row(
        "the same image in two classes", lay_out(*each("a", "b"), same=("a/0.png", "b/1.png")), RANK, 0,
        "1 image(s) appear in more than one class", "photos/a/0.png and photos/b/1.png",
    ),
    row(
        "identical images", lay_out(*each("a", "b"), same=each("a", "b")), f"{RANK} -s all", 0,
        "3 image(s) are copies", "appear in more than one class",
    ),
    row(
        "duplicates", lay_out(*each("a", "b"), same=("a/0.png", "a/1.png")), RANK, 0,
        "1 image(s) are copies of another image in the set; each copy counts as an image", "4 images",
    ),
    row("hidden folders", lay_out(*each("a", "b", ".git"), "a/.1.png"), RANK, 0, "4 images of 2 classes"),
    row("__MACOSX", lay_out(*each("a", "b", "__MACOSX/a"), "a/._0.png"), RANK, 0, "4 images of 2 classes"),
    row("names that clash by case", lay_out(*each("Cat", "cat")), RANK, 0, "classes 'Cat', 'cat' differ only by case"),
    row("names that clash by Unicode form", lay_out(*each("caf\u00e9", "cafe\u0301")), RANK, 0, "differ only by"),
    row(
        "symlink loops",
        then(lay_out(*each("a", "b")), link("a/up", ".."), link("a/me", "me"), link("loop", "."), link("b/b", "../b")),
        RANK, 0, "4 images of 2 classes", "class loop has no images",
    ),
    row(
        "an image that links to itself", then(lay_out(*each("a", "b")), link("a/x.png", "x.png")), RANK, 0,
        "skipped: photos/a/x.png", "symbolic links",
    ),
    row("a name with a line break", lay_out(*each("a\nb", "c")), RANK, 0, "4 images of 2 classes"),
    row(
        "a file instead of a folder", lambda here: (here / "photos").write_text("x"), RANK, 3,
        "photos: not a folder and not a",
    ),
    row("a table without labels", table("file_name\n1.png\n"), "rank photos.csv -m made", 3, "no column label"),
    row(
        "a table of missing files", table("file_name,label\n1.png,a\n2.png,b\n"), "rank photos.csv -m made", 3,
        "none of its 2 images was found", "1.png",
    ),
    row("a table with an empty label", table("file_name,label\n1.png,\n"), "rank photos.csv -m made", 3, "line 2"),
    row("a table that is not text", lambda here: (here / "photos.csv").write_bytes(b"\xff\xfe\x00x"),
        "rank photos.csv -m made", 3, "photos.csv", "UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_data_sets(row: Row, with_made: Path, here: Here) -> None:
    row.make(here.folder)
    clash = row.what.startswith("names that clash")
    if clash and len(os.listdir(here.folder / "photos")) < 2:
        pytest.skip("this file system treats such names as equal")
    before = snapshot(here.folder, with_made / "models")
    done = here.call(*row.command.split())
    tally.INPUTS["data sets"] += 1
    done.check(row.code, *row.words)
    assert snapshot(here.folder, with_made / "models") == before
    if row.code == 0:
        done = here.call(*row.command.split(), "--format", "json")
        done.check(0)
        for score in done.json["models"][0]["scores"].values():
            assert isinstance(score["value"], float)


@needs_permissions
def test_unreadable_files(with_made: Path, here: Here) -> None:
    lay_out(*each("a", "b", "c"))(here.folder)
    photos = here.folder / "photos"
    (photos / "a" / "0.png").chmod(0)
    (photos / "c").chmod(0)
    try:
        done = process(["rank", "photos", "-m", "made"], cwd=here.folder, preexec_fn=heed_permissions)
    finally:
        (photos / "c").chmod(0o755)
    tally.INPUTS["data sets"] += 1
    done.check(0, "3 images of 2 classes", "photos/c cannot be read (Permission denied) and was skipped")
    assert "skipped: photos/a/0.png: cannot be read: Permission denied" in done.err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux allows file names that are not text")
def test_paths_that_are_not_utf8(with_made: Path, here: Here) -> None:
    lay_out(*each("a", "b"))(here.folder)
    photos = here.folder / "photos"
    os.rename(photos / "a", os.fsencode(photos) + b"/caf\xe9")
    os.rename(photos / "b" / "0.png", os.fsencode(photos) + b"/b/\xff.png")
    (photos / "b" / "1.png").write_bytes(b"")
    bad = os.fsencode(photos) + b"/b/\xfe.png"
    Path(os.fsdecode(bad)).write_bytes(b"")
    os.rename(photos, os.fsencode(here.folder) + b"/f\xf6tos")
    name = os.fsdecode(b"f\xf6tos")
    tally.INPUTS["data sets"] += 1
    for out in ([], ["--format", "json"], ["--format", "csv"], ["--format", "md"], ["-o", os.fsdecode(b"r\xe9.json")]):
        done = here.call("rank", name, "-m", "made", *out)
        done.check(0, "skipped: f\\xf6tos/b/\\xfe.png: empty file")
        done.out.encode("utf-8")
    assert os.path.exists(os.fsencode(here.folder) + b"/r\xe9.json")
    here.call("rank", name, "-m", "made", "--strict").check(3, "f\\xf6tos/b/")
    here.call("embed", name, "--probe", "made", "-o", os.fsdecode(b"\xe9.npz")).check(0, "\\xe9.npz")
    here.call("distance", os.fsdecode(b"\xe9.npz"), os.fsdecode(b"\xe9.npz")).check(0)


def test_100_000_files(tmp_path: Path) -> None:
    """The files are found within seconds; most are hard links, to spare the file system."""
    per_class, classes = 1000, 100
    for i in range(classes):
        folder = tmp_path / f"class{i:03}"
        folder.mkdir()
        (folder / "00000.png").write_bytes(b"finding never looks inside")
        for j in range(1, per_class):
            os.link(folder / "00000.png", folder / f"{j:05}.png")
    start = time.monotonic()
    image_set = find_images(tmp_path)
    assert time.monotonic() - start < 20  # 0.3 s on an idle machine
    tally.INPUTS["data sets"] += 1
    assert len(image_set) == per_class * classes
    assert len(image_set.classes) == classes
    assert image_set.notes == ()
