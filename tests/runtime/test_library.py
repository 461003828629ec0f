"""Task libraries: stored content, rejected input and the command line."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from commands import Here
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.library import Library, file_name, read_errors, table_of


def task(name: str, seed: int = 0, network: str = "f" * 64) -> Embedding:
    vector = np.random.default_rng(seed).exponential(size=6)
    made = {"classes": {"a": 3, "b": 2, "none": 0}, "n_available": 5}
    return Embedding(name, network, (EmbeddedLayer("w", "conv", 6),), vector, 0.1 * vector, made)


def test_what_was_added_is_there(tmp_path: Path) -> None:
    library = Library(tmp_path / "new" / "library")
    assert not library.add(task("b/c", 1), {"net": 0.25, "other": 0.5})
    assert not library.add(task("a", 2))
    tasks = library.tasks()
    assert tasks.names == ("a", "b/c")
    np.testing.assert_allclose(tasks.vectors[1] * tasks.unit, task("b/c", 1).vector, rtol=1e-6)
    np.testing.assert_allclose(tasks.noise, 0.01)
    assert library.errors() == {("b/c", "net"): 0.25, ("b/c", "other"): 0.5}
    models, table = table_of(library.errors(), tasks.names)
    assert models == ["net", "other"]
    np.testing.assert_array_equal(table, [[np.nan, np.nan], [0.25, 0.5]])
    assert library.add(task("b/c", 3), {"net": 0.125})
    np.testing.assert_allclose(library.tasks().vectors[1] * library.tasks().unit, task("b/c", 3).vector, rtol=1e-6)
    assert library.errors() == {("b/c", "net"): 0.125, ("b/c", "other"): 0.5}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    library = Library(tmp_path)
    with pytest.raises(UsageError, match="not a library, or empty"):
        library.tasks()
    library.add(task("a"))
    with pytest.raises(EmbeddingError, match="embedded by different networks"):
        library.add(task("b", network="e" * 64))
    with pytest.raises(EmbeddingError, match=r"the error of net on b is 25, not a fraction"):
        library.add(task("b"), {"net": 25})
    assert library.tasks().names == ("a",)
    (tmp_path / "tasks" / "broken.npz").write_bytes(b"PK")
    with pytest.raises(EmbeddingError, match=r"broken\.npz: is not a task embedding"):
        library.tasks()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300) | st.sampled_from(["", ".", "%", "a", ".a"]))
def test_names_become_different_files_in_the_folder(name: str, other: str) -> None:
    file = file_name(name)
    assert "/" not in file
    assert "\0" not in file
    assert file not in ("", ".", "..")
    assert len(file.encode()) < 200
    assert not file.startswith(".")
    assert (file == file_name(other)) == (name == other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task,model\na,b\n", "has no column 'error'; required columns are task, model, error"),
        ("", "has no column 'task'"),
        ("task,model,error\na,b,x\n", "line 2: error is 'x', not a number"),
        ("task,model,error\na,b\n", "line 2: error is 'None', not a number"),
        ("task,model,error\na,b,nan\n", "the error of b on a is nan, not a fraction"),
        ("task,model,error\na,,0.1\n", "line 2: task or model is empty"),
        ("task,model,error\na,b,0.1\na,b,0.2\n", "line 3 repeats a, b"),
        ('task,model,error\n"a\n', "unexpected end of data"),
    ],
)
def test_tables_of_errors_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "errors.csv"
    path.write_text(text)
    with pytest.raises(EmbeddingError, match=message) as caught:
        read_errors(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_command_line(here: Here) -> None:
    library = functools.partial(here.call, "library")
    task("one", 1).save(here.folder / "1.npz")
    task("two", 2).save(here.folder / "2.npz")
    (here.folder / "e.csv").write_text("task,model,error\none,net,0.25\none,other,0.125\n")
    done = library("add", "L", "1.npz", "2.npz", "--errors", "e.csv")
    assert (done.code, done.out) == (0, "added one, errors of 2 models\nadded two\n"), done.err
    assert library("add", "L", "2.npz").out == "replaced two\n"
    listed = library("list", "L")
    listed.check(0)
    assert listed.out.splitlines()[2].split() == ["one", "5", "2", "0.010", "2", "other", "12.5"]
    assert library("list", "L", "--format", "json").out.startswith("{")
    for arguments, message in [
        (("list", "none"), "none: not a library, or empty; create it with leepfrog library add none TASK.npz"),
        (("add", "L", "1.npz", "1.npz"), "two of these tasks are named 'one'"),
        (("add", "L", "2.npz", "--errors", "e.csv"), "e.csv: errors on 'one', not one of these tasks (two)"),
    ]:
        refused = library(*arguments)
        refused.check(2, message)
        assert refused.err.count("\n") == 1
