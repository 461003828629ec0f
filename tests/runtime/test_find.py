"""Finding labelled images in realistic folders and tables, including invalid ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from leepfrog.errors import DataSetError, ImageError
from leepfrog.images.dataset import FileImage, ImageSet
from leepfrog.images.find import find_images
from leepfrog.images.kinds import EXTENSIONS
from photos import loaded
from PIL import Image

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


def lay_out(root: Path, *files: str) -> Path:
    """Create files and their parent folders; a name that ends in a slash is an empty folder."""
    for file in files:
        path = root / file
        if file.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode())  # the search never opens files
    return root


def listed(image_set: ImageSet, root: Path) -> dict[str, list[str]]:
    """Return the image paths of each class, relative to `root`."""
    paths: dict[str, list[str]] = {name: [] for name in image_set.classes}
    for image, label in zip(image_set.images, image_set.labels, strict=True):
        assert isinstance(image, FileImage)
        paths[image_set.classes[label]].append(os.path.relpath(image.path, root))
    return paths


def refusal(source: str | Path) -> str:
    with pytest.raises(DataSetError) as caught:
        find_images(source)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_folder_a_class(tmp_path: Path) -> None:
    lay_out(tmp_path, "dog/2.png", "dog/1.jpg", "cat/1.jpg", "cat/notes.txt", "cat/Thumbs.db")
    image_set = find_images(tmp_path)
    assert image_set.classes == ("cat", "dog")
    assert listed(image_set, tmp_path) == {"cat": ["cat/1.jpg"], "dog": ["dog/1.jpg", "dog/2.png"]}
    assert image_set.labels.dtype == np.int64
    assert (len(image_set), image_set.name, image_set.notes) == (3, str(tmp_path), ())
    assert listed(find_images(str(tmp_path)), tmp_path) == listed(image_set, tmp_path)


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_extensions_in_any_case(extension: str, tmp_path: Path) -> None:
    lay_out(tmp_path, f"a/1{extension}", f"b/2{extension.upper()}", f"b/3{extension}.bak", f"b/{extension}")
    assert listed(find_images(tmp_path), tmp_path) == {"a": [f"a/1{extension}"], "b": [f"b/2{extension.upper()}"]}


def test_images_count_to_their_class_at_any_depth(tmp_path: Path) -> None:
    lay_out(tmp_path, "a/x/y/z/1.jpg", "a/x/2.jpg", "a/3.jpg", "b/day 1/1.jpg", "b/empty/")
    assert listed(find_images(tmp_path), tmp_path) == {
        "a": ["a/3.jpg", "a/x/2.jpg", "a/x/y/z/1.jpg"],
        "b": ["b/day 1/1.jpg"],
    }


def test_hidden_and_macosx_folders_and_files_are_passed_over(tmp_path: Path) -> None:
    lay_out(tmp_path, "a/1.jpg", "b/1.jpg", ".git/1.jpg", "__MACOSX/a/1.jpg", ".hidden.jpg")
    lay_out(tmp_path, "a/._1.jpg", "a/.cache/2.jpg", "b/__MACOSX/3.jpg", "b/.DS_Store")
    image_set = find_images(tmp_path)
    assert listed(image_set, tmp_path) == {"a": ["a/1.jpg"], "b": ["b/1.jpg"]}
    assert image_set.notes == ()


def test_loose_images_and_empty_classes_are_left_out_and_said(tmp_path: Path) -> None:
    lay_out(tmp_path, "a/1.jpg", "b/1.jpg", "empty/", "texts/readme.txt", "1.jpg", "2.png", "notes.txt")
    image_set = find_images(tmp_path)
    assert image_set.classes == ("a", "b")
    assert image_set.notes == (
        f"2 image(s) directly in {tmp_path} have no class and were skipped",
        "class empty has no images and was omitted",
        "class texts has no images and was omitted",
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "no class folders; put the images of each class in a separate folder"),
        (["1.jpg", "2.jpg"], "it contains 2 unsorted images"),
        (["a/"], "no classes with images"),
        (["a/x.txt", "b/"], "no classes with images"),
        (["a/1.jpg", "a/2.jpg"], "only one class with images ('a')"),
        (["a/1.jpg", "b/", ".c/1.jpg"], "only one class with images ('a')"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "contains splits (train, val), not classes"),
        (["Train/a/1.jpg", "TEST/a/1.jpg"], "contains splits (TEST, Train), not classes"),
        (["train/a/1.jpg", "train/b/1.jpg"], "contains splits (train), not classes"),
    ],
)
def test_folders_that_cannot_be_ranked_on(files: list[str], reason: str, tmp_path: Path) -> None:
    message = refusal(lay_out(tmp_path, *files))
    assert reason in message
    assert message.startswith(str(tmp_path))


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    assert find_images(lay_out(tmp_path, "train/1.jpg", "tram/1.jpg")).classes == ("train", "tram")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("missing", "no such folder or file"),
        ("missing.csv", "no such folder or file"),
        ("photo.jpg", "not a folder and not a .csv table"),
        ("photo.jpg/a", "no such folder or file"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits file names differently")
def test_sources_that_are_neither(source: str, reason: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "photo.jpg")
    assert reason in refusal(tmp_path / source)


@needs_links
def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    elsewhere = lay_out(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    root = lay_out(tmp_path / "set", "a/1.jpg", "b/1.jpg", "b/sub/2.jpg")
    (root / "c").symlink_to(elsewhere)
    (root / "a" / "linked.jpg").symlink_to(elsewhere / "1.jpg")
    (root / "b" / "sub" / "back").symlink_to(root / "b")
    (root / "b" / "self").symlink_to("self")
    (root / "b" / "self.jpg").symlink_to("self.jpg")  # unreadable, which is reported only when it is loaded
    (root / "b" / "gone.jpg").symlink_to("nowhere")
    (root / "b" / "nowhere").symlink_to("nobody")
    assert listed(find_images(root), root) == {
        "a": ["a/1.jpg", "a/linked.jpg"],
        "b": ["b/1.jpg", "b/gone.jpg", "b/self.jpg", "b/sub/2.jpg"],
        "c": ["c/1.jpg", "c/deep/2.jpg"],
    }


@needs_links
def test_a_link_up_does_not_bring_other_classes_in(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    (root / "a" / "root").symlink_to(root)
    (root / "a" / "above").symlink_to(tmp_path)
    (root / "b" / "root").symlink_to("../../set")
    (root / "loop").symlink_to(root)
    store = lay_out(tmp_path / "store", "c/1.jpg", "d/1.jpg")
    (root / "c").symlink_to(store / "c")
    (store / "c" / "store").symlink_to(store)
    (store / "c" / "root").symlink_to(root)
    image_set = find_images(root)
    assert listed(image_set, root) == {"a": ["a/1.jpg"], "b": ["b/1.jpg"], "c": ["c/1.jpg"]}
    assert image_set.notes == ("class loop has no images and was omitted",)


@needs_links
def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    lay_out(tmp_path, "a/x.jpg/1.jpg", "b.png/1.jpg")
    (tmp_path / "a" / "link.jpg").symlink_to(tmp_path / "a" / "x.jpg")  # visited once, whichever name comes first
    image_set = find_images(tmp_path)
    assert image_set.classes == ("a", "b.png")
    assert len(image_set) == 2


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no Unix permissions")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    """Search in a child process that drops root privileges, since root bypasses permissions."""
    root = lay_out(tmp_path / "set", "a/1.jpg", "b/1.jpg", "b/open/2.jpg", "b/shut/3.jpg", "c/1.jpg", "c/blind/2.jpg")
    closed = lay_out(tmp_path / "closed", "set/a/1.jpg")
    (root / "b" / "1.jpg").chmod(0o000)
    (root / "b" / "shut").chmod(0o000)
    (root / "c" / "blind").chmod(0o444)  # its files can be listed but not opened
    program = f"""
import os
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
from leepfrog.errors import DataSetError, ImageError
from leepfrog.images.find import find_images
found = find_images({str(root)!r})
for image in found.images:
    try:
        image.load_reduced([])
    except ImageError as error:
        print(os.path.relpath(image.path, {str(root)!r}), error, sep=": ")
print(*found.notes, sep="\\n")
for source in ({str(closed)!r}, {str(closed / "set")!r}):
    try:
        find_images(source)
    except DataSetError as error:
        print(error)
"""
    # Import before dropping privileges: the unprivileged user may not be able to read the checkout.
    program = "import numpy.ma, PIL.Image, leepfrog.images.find as f\nPIL.Image.init()\nf.sources()\n" + program
    opened = [parent for parent in (tmp_path, *tmp_path.parents) if not parent.stat().st_mode & 0o001]
    modes = {parent: parent.stat().st_mode for parent in opened if parent.stat().st_uid == os.getuid()}
    closed.chmod(0o000)
    try:
        for parent, mode in modes.items():
            parent.chmod(mode | 0o001)
        # The child could not write its coverage data either.
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    finally:
        for parent, mode in modes.items():
            parent.chmod(mode)
        for path in (closed, root / "b" / "shut", root / "c" / "blind"):
            path.chmod(0o755)  # otherwise pytest could not clean up
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "a/1.jpg: not an image in a supported format",
        "b/1.jpg: cannot be read: Permission denied",
        "b/open/2.jpg: not an image in a supported format",
        "c/1.jpg: not an image in a supported format",
        "c/blind/2.jpg: cannot be read: Permission denied",
        f"folder {root}/b/shut cannot be read (Permission denied) and was skipped",
        f"{closed}: cannot be read: Permission denied",
        f"{closed}/set: cannot be read: Permission denied",
    ]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux allows file names that are not text")
def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    for folder, name in ((b"caf\xe9", b"\xff\xfe.jpg"), (b"plain", b"1.jpg")):
        path = os.path.join(os.fsencode(tmp_path), folder)
        os.mkdir(path)
        Image.new("RGB", (2, 2), "red").save(os.fsdecode(os.path.join(path, name)), "PNG")
    image_set = find_images(tmp_path)
    assert image_set.classes == ("caf\\xe9", "plain")
    assert [os.path.basename(image.name) for image in image_set.images] == ["\\xff\\xfe.jpg", "1.jpg"]
    for image in image_set.images:
        image.name.encode("ascii")
        assert loaded(image)[1].getpixel((0, 0)) == (255, 0, 0)
    odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9"))
    assert refusal(odd).startswith(f"{tmp_path}/caf\\xe9: no class folders")


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (("Cat", "cat", "dog"), "classes 'Cat', 'cat' differ only by case or Unicode form"),
        (("caf\u00e9", "cafe\u0301", "tea"), r"classes 'cafe\u0301', 'caf\xe9' differ only"),
        (("STRASSE", "stra\u00dfe", "weg"), r"classes 'STRASSE', 'stra\xdfe' differ only"),
        (("cat", "dog", "cats"), None),
    ],
)
def test_classes_that_look_alike_are_told_of(names: tuple[str, ...], alike: str | None, tmp_path: Path) -> None:
    lay_out(tmp_path, "0.jpg")
    table = tmp_path / "table.csv"  # a file system may treat such names as equal; a table does not
    table.write_text("file_name,label\n" + "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names)), "utf-8")
    image_set = find_images(table)
    assert set(image_set.classes) == set(names)
    assert [alike in note for note in image_set.notes] == [True] if alike else image_set.notes == ()


def test_folders_that_look_alike_are_told_of(tmp_path: Path) -> None:
    lay_out(tmp_path, "Cat/1.jpg", "cat/2.jpg", "caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "dog/1.jpg")
    if len(os.listdir(tmp_path)) < 5:
        pytest.skip("this file system treats such names as equal")
    image_set = find_images(tmp_path)
    assert len(image_set.classes) == 5
    assert image_set.notes == (
        "classes 'Cat', 'cat' differ only by case or Unicode form and are treated as different classes",
        "classes 'cafe\\u0301', 'caf\\xe9' differ only by case or Unicode form and are treated as different classes",
    )


def write_table(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "file_name,label\n1.jpg,a\nsub/2.jpg,b\n",
        "file_name,label\r\n1.jpg,a\r\nsub/2.jpg,b\r\n",
        "\ufefffile_name,label\n1.jpg,a\nsub/2.jpg,b\n",
        "label,split,file_name\n a ,train,1.jpg\nb,test,sub/2.jpg\n",
        'file_name,label\n"1.jpg","a"\n\n"sub/2.jpg",b',
    ],
)
def test_tables(content: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "1.jpg", "sub/2.jpg")
    image_set = find_images(write_table(tmp_path / "table.CSV", content))
    assert listed(image_set, tmp_path) == {"a": ["1.jpg"], "b": ["sub/2.jpg"]}
    assert (image_set.name, image_set.notes) == (str(tmp_path / "table.CSV"), ())


def test_tables_quote_commas_and_take_absolute_paths_and_unicode(tmp_path: Path) -> None:
    lay_out(tmp_path, "one, two.jpg")
    elsewhere = (tmp_path / "else" / "1.jpg").as_posix()
    rows = f'file_name,label\n"one, two.jpg","Pot, flower"\n{elsewhere},猫\n../up.jpg,"say ""cheese"""\n'
    image_set = find_images(write_table(tmp_path / "table.csv", rows))
    assert image_set.classes == ("Pot, flower", 'say "cheese"', "猫")
    names = [Path(image.name) for image in image_set.images]
    assert names == [tmp_path / "one, two.jpg", Path(elsewhere), tmp_path / "../up.jpg"]
    assert image_set.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no column file_name or label (found: nothing)"),
        ("file_name\n1.jpg\n", "no column label (found: file_name)"),
        ("path,label\n1.jpg,a\n", "no column file_name (found: path, label)"),
        ("file_name;label\n1.jpg;a\n", "no column file_name or label (found: file_name;label)"),
        ("file_name,label\n", "no classes with images"),
        ("file_name,label\n1.jpg,a\n2.jpg,a\n", "only one class with images ('a')"),
        ("file_name,label\n1.jpg,a\n2.jpg,\n", "line 3: file_name or label is empty"),
        ("file_name,label\n1.jpg,a\n2.jpg,  \n", "line 3: file_name or label is empty"),
        ("file_name,label\n1.jpg,a\n2.jpg\n", "line 3: file_name or label is empty"),
        ("file_name,label\n,a\n", "line 2: file_name or label is empty"),
        ("file_name,label\ncaf\u00e9.jpg,a\n".encode("latin-1"), "cannot be read as a UTF-8 CSV table"),
        ("file_name,label\n1.jpg,a\n".encode("utf-16"), "cannot be read as a UTF-8 CSV table"),
        ("file_name,label\n" + "x" * 200_000 + ",a\n", "cannot be read as a UTF-8 CSV table: field larger"),
    ],
)
def test_tables_that_cannot_be_ranked_on(content: str | bytes, reason: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "1.jpg")
    message = refusal(write_table(tmp_path / "table.csv", content))
    assert reason in message
    assert message.startswith(str(tmp_path / "table.csv"))


def test_metadata_csv_stands_in_for_class_folders(tmp_path: Path) -> None:
    lay_out(tmp_path, "1.jpg", "2.jpg", ".git/x.jpg")
    write_table(tmp_path / "metadata.csv", "file_name,label\n1.jpg,a\n2.jpg,b\n")
    assert listed(find_images(tmp_path), tmp_path) == {"a": ["1.jpg"], "b": ["2.jpg"]}
    lay_out(tmp_path, "c/1.jpg")  # a single folder contains the table's images; it is not a class
    assert find_images(tmp_path).classes == ("a", "b")
    lay_out(tmp_path, "d/1.jpg")  # class folders take precedence
    assert find_images(tmp_path).classes == ("c", "d")


def test_what_a_table_names_and_is_not_there_is_an_image_error_later(tmp_path: Path) -> None:
    lay_out(tmp_path, "1.jpg")
    rows = "file_name,label\ngone.jpg,a\nn\0ul.jpg,b\n1.jpg,b\n"
    image_set = find_images(write_table(tmp_path / "table.csv", rows))
    for image, reason in zip(image_set.images[:2], ("No such file", "null byte"), strict=True):
        with pytest.raises(ImageError, match=reason):
            image.digest()


@pytest.mark.full
def test_twenty_thousand_files(tmp_path: Path) -> None:
    for name in range(20):
        folder = tmp_path / f"{name:02}"
        folder.mkdir()
        for i in range(1000):
            os.close(os.open(folder / f"{i:04}.jpg", os.O_CREAT | os.O_WRONLY))
    start = time.process_time()  # CPU time, which other programs do not affect
    image_set = find_images(tmp_path)
    assert time.process_time() - start < 5  # usually 0.1 s; quadratic work would take minutes
    assert len(image_set) == 20_000
    assert np.bincount(image_set.labels).tolist() == [1000] * 20
