"""Real-world data sets: unsupported files, splits, tables, odd labels and class names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Here, heed_permissions, needs_permissions, process
from leepfrog.errors import DataSetError
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from photos import folder_of_pieces
from PIL import Image

pytestmark = pytest.mark.full

CLASSES = ("cat", "dog")


def lay_out(root: Path, *files: str) -> Path:
    """Create files and their folders; a name with a trailing slash is an empty folder."""
    for file in files:
        path = root / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            path.write_bytes(file.encode())  # find_images does not read the content
    return root


def below(*tops: str, inside: tuple[str, ...] = CLASSES) -> tuple[str, ...]:
    return tuple(f"{top}/{name}/{i}.jpg" for top in tops for name in inside for i in range(2))


def flat(*tops: str, ending: str = ".jpg") -> tuple[str, ...]:
    return tuple(f"{top}/{i}{ending}" for top in tops for i in range(2))


def refusal(source: Path) -> str:
    with pytest.raises(DataSetError) as caught:
        find_images(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Fault 39: layouts that are rejected, with part of the message; {} is the folder.
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "training_set and test_set": (below("training_set", "test_set"), "not classes; pass one of them, such as {}/train"),
    "train2017 and val2017": ((*flat("train2017", "val2017"), "annotations/x.json"), "contains splits (train2017,"),
    "train and holdout": (below("train", "holdout"), "contains splits (holdout, train)"),
    "folds": (below("fold1", "fold2"), "contains splits (fold1, fold2)"),
    "with spaces": (below("Train Set", "Test Set"), "contains splits (Test Set, Train Set)"),
    "in capitals": (below("TrainSet", "TestSet"), "contains splits (TestSet, TrainSet)"),
    "short names": (flat("tr", "te"), "contains splits (te, tr)"),
    "short names, one longer": ((*flat("tr", "val"), *below("sample")), "not classes"),
    "domains of pairs": (
        flat("trainA", "trainB", "testA", "testB"), "contains splits (testA, testB, trainA, trainB), not classes; "),
    "with samples": ((*below("train", "test"), *flat("sample")), "contains splits (test, train)"),
    "with an empty folder": ((*below("train", "val"), "annotations/"), "contains splits (train, val)"),
    "images and annotations": ((*flat("images"), *flat("annotations", ending=".png")), "parts of a data set"),
    "images and text files": ((*below("images"), "annotations/x.xml"), "such as {}/images"),
    "arbitrary names": (below("one", "two"), "contain the same subfolders (cat, dog)"),
    "with classes missing": ((*below("one", inside=("cat", "dog", "eel")), *below("two")), "subfolders (cat, dog)"),
    "domains": (below("amazon", "dslr", inside=tuple("abcdefgh")), "pass one of them, such as {}/amazon"),
    "one folder too high": (below("animals"), "animals contains images, in 2 subfolders (cat, dog); pass {}/animals"),
    "two folders too high": (below("a/b"), "only a contains images, in 2 subfolders (cat, dog); pass {}/a/b"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_fault_39_splits_and_parts_are_not_classes(what: str, tmp_path: Path) -> None:
    files, words = REFUSED[what]
    assert words.replace("{}", str(tmp_path)) in refusal(lay_out(tmp_path, *files))


# Layouts that are accepted, their classes, and part of the only note, if any.
RANKED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str | None]] = {
    "of a NAS": ((*flat(*CLASSES), *flat("@eaDir"), "cat/@eaDir/0.jpg/SYNO.jpg"), CLASSES, None),
    "runs": ((*flat(*CLASSES), "runs/detect/exp/1.jpg"), CLASSES, "folder runs is named like a tool's output"),
    "a split among its classes": ((*flat(*CLASSES), *below("val")), CLASSES, "val contains subfolders named like"),
    "years in classes": (below(*CLASSES, inside=("2021", "2022")), CLASSES, "contain the same subfolders (2021, 2022)"),
    "sessions in classes": (below(*CLASSES, inside=("session_1", "session_2")), CLASSES, "taken as one class"),
    "splits in classes": (below(*CLASSES, inside=("train", "test")), CLASSES, "the same subfolders (test, train)"),
    "places in many classes": (below(*"abcde", inside=("in", "out")), tuple("abcde"), "the same subfolders (in,"),
    "classes of classes": (
        (*below("animals"), *below("plants", inside=("rose", "tulip"))), ("animals", "plants"), "taken as the classes"),
    "masks among classes": ((*flat(*CLASSES), *flat("masks")), (*CLASSES, "masks"), "folders named masks"),
    "numbered parts": (flat("part1", "part2"), ("part1", "part2"), "folders named part1, part2"),
    "digits": (flat(*"0123"), tuple("0123"), None),
    "people with and without": (flat("with_mask", "without_mask"), ("with_mask", "without_mask"), None),
    "a class named like a split": (flat("train", "tram"), ("train", "tram"), "folders named train"),
    "languages": (flat("en", "te", "tr"), ("en", "te", "tr"), "folders named te, tr"),
    "letters": (flat("A", "B", "T"), ("A", "B", "T"), None),
    "a letter and a word": (flat("cat A", "cat B"), ("cat A", "cat B"), None),
    "a split among letters": (flat("A", "B", "testA"), ("A", "B", "testA"), "folders named testA"),
    "an extra folder in each class": (below(*CLASSES, inside=("images",)), CLASSES, None),
}  # fmt: skip


@pytest.mark.parametrize("what", RANKED)
def test_fault_39_classes_stay_classes_and_assumptions_are_notes(what: str, tmp_path: Path) -> None:
    files, classes, words = RANKED[what]
    image_set = find_images(lay_out(tmp_path, *files))
    assert image_set.classes == classes
    assert [words in note for note in image_set.notes] == [True] if words else image_set.notes == ()


def test_fault_39_only_folders_with_images_count_beside_a_table(tmp_path: Path) -> None:
    lay_out(tmp_path, *flat("images"), "annotations/x.xml")
    (tmp_path / "metadata.csv").write_text("file_name,label\nimages/0.jpg,a\nimages/1.jpg,b\n")
    assert find_images(tmp_path).classes == ("a", "b")


def test_fault_12_files_of_other_kinds_are_counted_and_named(with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    lay_out(
        photos, "cat/a.CR2", "cat/b.cr2", "rocket/c.dng", "cat/d.jxl", "e.psd", "rocket/f.mov", "cat/g.xyz", "cat/h"
    )
    lay_out(photos, "cat/i.txt", "cat/j.xmp")
    done = here.call("rank", "photos", "-m", "made")
    done.check(
        0, "6 images of 3 classes",
        "note: 3 camera raw file(s) (.cr2, .dng) were not read: cat 2, rocket 1; convert them",
        "note: 2 image(s) in unsupported formats (.psd, .jxl) were not read: photos 1, cat 1; convert them",
        "note: 1 video(s) (.mov) were not read: rocket 1",
        "note: 2 file(s) of other types (.xyz, no extension) were not read: cat 2",
    )  # fmt: skip
    assert ".txt" not in done.err


@pytest.mark.parametrize(("name", "refused"), [
    *((name, False) for name in ("a.heics", "a.mov", "a.pdf", "a.npy", "a.ai", "a.img", "a.ico", "a.nii")),
    ("a.nef", True), ("a.jxl", True),
])  # fmt: skip
def test_fault_12_strict_refuses_images_of_kinds_that_are_not_read(
    name: str, refused: bool, with_made: Path, here: Here
) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    lay_out(photos, f"cat/{name}")
    done = here.call("rank", "photos", "-m", "made", "--strict")
    if refused:
        done.check(3, "photos: 1 ", f"({Path(name).suffix}) were not read: cat 1; convert them to JPEG or PNG")
    else:
        done.check(0)


def test_fault_12_files_that_may_be_images_are_named(tmp_path: Path) -> None:
    image_set = find_images(lay_out(tmp_path, *flat(*CLASSES), "cat/a.pdf", "cat/b.npy", "cat/c.psd"))
    psd, maybe = (next(note for note in image_set.notes if f".{kind}" in note) for kind in ("psd", "pdf"))
    assert "2 file(s) that may be images (" in maybe
    assert "were not read: cat 2; convert actual images to JPEG or PNG" in maybe
    assert image_set.unreadable == (psd,)


def test_fault_12_a_folder_of_nothing_else_says_so(tmp_path: Path) -> None:
    lay_out(tmp_path, *flat(*CLASSES, ending=".NEF"))
    message = refusal(tmp_path)
    assert "no classes with images" in message
    assert "4 camera raw file(s) (.nef) were not read: cat 2, dog 2; convert them to JPEG or PNG" in message


NOT_FOUND: dict[str, tuple[str, str]] = {
    "without extension": ("sub/1", "sub/1.jpg exists: add the extension"),
    "wrong case": ("SUB/9", "file_name is relative to the table's folder"),
    "backslashes": (r"sub\1.jpg", r"sub/1.jpg exists: use / instead of \\"),
    "backslashes without extension": (r"sub\1", r"sub/1.jpg exists: use / instead of \\, add the extension"),
    "a Windows path": (r"C:\data\9.jpg", r"use / instead of \\"),
    "from the working folder": ("set/sub/1.jpg", "set/sub/1.jpg exists: it is relative to the working directory"),
    "too many folders": ("data/other/2.jpg", "2.jpg exists: remove the folder from file_name"),
    "spaces": (" sub/1.jpg ", "sub/1.jpg exists: remove the surrounding spaces"),
    "URLs": ("https://example.org/1.jpg", "URLs are not fetched: download the images first"),
}


@pytest.mark.parametrize("what", NOT_FOUND)
def test_fault_45_a_table_of_files_that_are_not_there(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, hint = NOT_FOUND[what]
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path / "set", "sub/1.jpg", "2.jpg")
    table = Path("set/table.csv")
    table.write_text(f"file_name,label\n{name},a\n{name}x,b\n")
    message = refusal(table)
    assert f"set/table.csv: none of its 2 images was found; the first was expected at set/{name}" in message
    assert hint.replace(r"\\", "\\") in message


def test_fault_17_a_table_of_paths_without_the_ending(with_made: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=2)
    rows = "".join(f"photos/{name}/{i:02},{name}\n" for name in ("cat", "rocket") for i in range(2))
    (here.folder / "photos.csv").write_text(f"file_name,label\n{rows}")
    here.call("rank", "photos.csv", "-m", "made").check(
        3, "photos.csv: none of its 4 images was found", "photos/cat/00", "photos/cat/00.jpg exists: add the extension"
    )


STRAY = "".join(f"{i}.jpg,{'cat' if i % 2 else 'dog'}\n" for i in range(24))
SWALLOWED = STRAY.replace("3.jpg,cat", '3.jpg,"cat', 1).replace("9.jpg,cat", '9.jpg,cat"', 1)
TABLES: dict[str, tuple[str, str]] = {
    "label twice": ("file_name,label,label\n0.jpg,a,b\n1.jpg,b,a\n", "2 columns are named label"),
    "file_name twice": ("file_name,label,file_name\n0.jpg,a,0.jpg\n", "2 columns are named file_name"),
    "a stray quote": (f"file_name,label\n{SWALLOWED}", "line 5: a quote opened here closes 6 lines later"),
    "a stray quote before a name": (f"file_name,label\n{STRAY}".replace("3.jpg", '"3.jpg', 1), "line"),
    "a stray quote in text": ("file_name,label,text\n0.jpg,a,\"x\n1.jpg,b,y\n2.jpg,b,z\"\n", "line 2: a quote "),
    "text after a quote": ('file_name,label\n"0.jpg"x,a\n1.jpg,b\n', "line 2: cannot be read as a UTF-8 CSV table"),
    "a comma without quotes": ("file_name,label\n0,5.jpg,a\n1.jpg,b\n", "line 2: 3 fields for 2 columns"),
    "semicolons": ("file_name;label\n0.jpg;a\n1.jpg;b\n", "columns are separated by semicolons, not commas"),
    "tabs": ("file_name\tlabel\n0.jpg\ta\n1.jpg\tb\n", "columns are separated by tabs, not commas"),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLES)
def test_fault_44_tables_are_read_as_meant_or_refused(what: str, tmp_path: Path) -> None:
    content, words = TABLES[what]
    lay_out(tmp_path, *(f"{i}.jpg" for i in range(24)))
    (tmp_path / "table.csv").write_text(content)
    assert words in refusal(tmp_path / "table.csv")


def test_fault_44_texts_of_several_lines_are_not_stray_quotes(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.jpg", "1.jpg")
    (tmp_path / "table.csv").write_text('file_name,text,label\n0.jpg,"a cat,\non, and on",a\n1.jpg,"one ""dog""",b,\n')
    assert find_images(tmp_path / "table.csv").classes == ("a", "b")


LABELS: dict[str, tuple[list[str], str]] = {
    "0 and 0.0": (["0", "0.0", "1"] * 2, "classes '0', '0.0' are the same number"),
    "1 and 01": (["1", "01", "2"] * 2, "classes '01', '1' are the same number"),
    "case": (["cat", "Cat"] * 2, "classes 'Cat', 'cat' differ only by case"),
    "measurements": ([f"{i / 7:.3f}" for i in range(30)], "labels are fractional numbers, treated as 30 classes"),
    "identifiers": ([f"id{i}" for i in range(30)], "30 classes for 30 images"),
    "255": (["0", "1", "255"] * 2, "label 255 often means 'ignore'"),
    "-1": (["0", "1", "-1"] * 2, "label -1 often means 'ignore'"),
}


@pytest.mark.parametrize("what", LABELS)
def test_fault_43_odd_labels_are_noted(what: str, tmp_path: Path) -> None:
    labels, words = LABELS[what]
    lay_out(tmp_path, *(f"{i}.jpg" for i in range(len(labels))))
    rows = "".join(f"{i}.jpg,{label}\n" for i, label in enumerate(labels))
    (tmp_path / "table.csv").write_text(f"file_name,label\n{rows}")
    (note,) = find_images(tmp_path / "table.csv").notes
    assert words in note


def test_fault_43_odd_labels_of_arrays_and_folders_are_noted(with_made: Path, here: Here) -> None:
    pixels = [np.full((8, 8, 3), i, np.uint8) for i in range(6)]
    (note,) = ImageSet.from_arrays(pixels, [0, 1, 255] * 2).notes
    assert "label 255" in note
    (note,) = ImageSet.from_arrays(pixels, ["cat", "cat ", "dog"] * 2).notes
    assert "classes 'cat', 'cat ' differ only by spaces" in note
    assert ImageSet.from_arrays(pixels, [0, 1, 2] * 2).notes == ()
    folder_of_pieces(here.folder / "photos", count=2).joinpath("cat").rename(here.folder / "photos" / "cat ")
    (here.folder / "photos" / "coffee").rename(here.folder / "photos" / "cat")
    here.call("rank", "photos", "-m", "made").check(0, "note: classes 'cat', 'cat ' differ only by spaces")


def test_fault_43_masks_beside_images_are_noted(with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    for name in ("cat/00_mask.png", "cat/01-label.png", "rocket/2_mask.png"):  # the last has no 2.jpg next to it
        Image.new("L", (9, 9), len(name)).save(photos / name)
    here.call("rank", "photos", "-m", "made").check(
        0, "note: 2 file(s) look like masks of other images but are treated as images, such as photos/cat/00_mask.png"
    )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux allows file names that are not valid text")
def test_fault_35_classes_that_are_equal_once_escaped_stay_two(with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=3)
    (photos / "cat").rename(os.fsdecode(os.fsencode(photos) + b"/\xff"))
    (photos / "coffee").rename(photos / r"\xff")
    done = here.call("rank", "photos", "-m", "made", "--format", "json")
    done.check(0)
    assert done.json["classes"] == {"\\xff": 3, "\\xff (2)": 3, "rocket": 3}
    assert sorted(done.json["receipt"]["data"]["classes"]) == ["\\xff", "\\xff (2)", "rocket"]
    here.call("rank", "photos", "-m", "made").check(0, "9 images of 3 classes")
    here.call("explain", "photos", "-m", "made").check(0, "\\xff (2)")
    plain = folder_of_pieces(here.folder / "plain", count=3)
    other = here.call("rank", str(plain), "-m", "made", "--format", "json")
    assert done.json["models"][0]["scores"]["leep"]["value"] == other.json["models"][0]["scores"]["leep"]["value"]


def test_fault_35_names_differ_after_escaping_whatever_they_are(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.jpg")
    names = ["a\u200b", r"a\u200b", r"a\u200b (2)", "b"]
    (tmp_path / "table.csv").write_text("file_name,label\n" + "".join(f"0.jpg,{name}\n" for name in names), "utf-8")
    image_set = find_images(tmp_path / "table.csv")
    assert len(set(image_set.classes)) == 4
    assert all(name.isprintable() for name in image_set.classes)


@needs_permissions
@pytest.mark.parametrize("command", ["rank", "explain", "embed"])
def test_fault_32_strict_refuses_an_unreadable_class_folder(command: str, with_made: Path, here: Here) -> None:
    photos = folder_of_pieces(here.folder / "photos", count=2)
    words = {
        "rank": ["rank", "photos", "-m", "made"],
        "explain": ["explain", "photos", "-m", "made"],
        "embed": ["embed", "photos", "--probe", "made", "-o", "x.npz"],
    }[command]
    (photos / "cat").chmod(0)
    try:
        lax = process(words, cwd=here.folder, preexec_fn=heed_permissions)
        strict = process([*words, "--strict"], cwd=here.folder, preexec_fn=heed_permissions)
    finally:
        (photos / "cat").chmod(0o755)
    lax.check(0, *(["folder photos/cat cannot be read (Permission denied) and was skipped"] * (command != "embed")))
    strict.check(3, "folder photos/cat cannot be read (Permission denied)")


def test_fault_12_images_that_cannot_be_read_are_named_where_no_class_is_left(with_made: Path, here: Here) -> None:
    lay_out(here.folder / "photos", "cat/1.jpg", "dog/2.jpg")
    done = here.call("rank", "photos", "-m", "made")
    done.check(3, "no classes with images", "2 image(s) could not be used and were skipped: ", "1.jpg (")
