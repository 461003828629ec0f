"""The Python API: exports, bare strings as sequences, path types, error types and equality (faults 19 and 31)."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leepfrog
import leepfrog_exporter
import models_made as made
import numpy as np
import pytest
from commands import run
from leepfrog import errors, scores
from leepfrog.execution.context import RunContext
from leepfrog.inference.model import ModelFile
from leepfrog.ranking.score_files import score_files
from leepfrog.receipts.request import Request
from leepfrog.task2vec.embed import find_probe
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.library import Library, read_errors
from leepfrog.task2vec.probe import ProbeFile
from leepfrog_exporter.export import ExportOptions, export
from photos import folder_of_pieces
from subtasks import class_subset

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(4), 24).astype(np.float32)
LABELS = np.arange(24) % 3
FEATURES = RNG.normal(size=(24, 5)) + LABELS[:, None]
NAMES = np.array(["cat", "dog", "eel"])[LABELS]


@dataclasses.dataclass(frozen=True)
class Place:
    """An `os.PathLike` that is neither a str nor a pathlib.Path."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=4)


def embedding(values: Any = (1.0, 2.0), spread: Any = (0.5, np.nan), name: str = "task") -> Embedding:
    layers = (EmbeddedLayer("conv", "conv", 2),)
    return Embedding(name, "0" * 64, layers, np.asanyarray(values), np.asanyarray(spread))


def score_functions() -> dict[str, Callable[..., leepfrog.Score]]:
    return {name: getattr(scores, name) for name in scores.__all__ if name != "Score"}


@pytest.mark.full
def test_fault_19_submodules_are_reachable_after_import() -> None:
    code = "import sys, leepfrog; leepfrog.scores.ridge; leepfrog.errors.UsageError; print('torch' in sys.modules)"
    done = run(code=code)
    assert (done.out, done.err) == ("False\n", "")


def mentioned() -> dict[type, str]:
    """Return leepfrog's classes in type hints of the exported functions and, recursively, of these classes."""
    classes: dict[type, str] = {}

    def walk(hint: Any, why: str) -> None:
        for part in typing.get_args(hint):
            walk(part, why)
        if isinstance(hint, type) and hint.__module__.startswith("leepfrog") and hint not in classes:
            classes[hint] = why
            if dataclasses.is_dataclass(hint):
                of_function(hint, hint.__name__)
            for name, member in inspect.getmembers(hint):
                if not name.startswith("_"):
                    of_function(member.fget if isinstance(member, property) else member, f"{hint.__name__}.{name}")

    def of_function(function: Any, why: str) -> None:
        if inspect.isroutine(function) or inspect.isclass(function):
            for hint in typing.get_type_hints(function).values():
                walk(hint, why)

    for name in leepfrog.__all__:
        value = getattr(leepfrog, name)
        if inspect.isfunction(value):
            of_function(value, name)
    return classes


def test_fault_19_every_type_that_a_signature_mentions_is_exported() -> None:
    exported = {value for name in leepfrog.__all__ if isinstance(value := getattr(leepfrog, name), type)}
    wanted = mentioned()
    assert {leepfrog.Budget, leepfrog.Explanation, leepfrog.RankedModel, leepfrog.Progress} <= wanted.keys()
    assert [f"{kind.__name__} (by {why})" for kind, why in wanted.items() if kind not in exported] == []
    of_errors = {value for value in vars(errors).values() if isinstance(value, type)}
    made_by_callers = {kind for kind in exported if issubclass(kind, Request)} | {leepfrog.LocalRunner}
    assert [kind.__name__ for kind in exported - wanted.keys() - of_errors - made_by_callers] == []
    assert of_errors <= exported


def test_fault_19_type_checkers_see_every_exported_name() -> None:
    tree = ast.parse(Path(str(leepfrog.__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    seen = {(node.module, alias.name) for node in imports for alias in node.names}
    homes = {(home, name) for name, home in leepfrog._HOMES.items()}
    assert seen == homes | {("leepfrog", name) for name in leepfrog._MODULES}


def test_fault_19_a_bare_string_is_one_item(tiny: Path, photos: Path) -> None:
    one = leepfrog.rank(photos, "made", scores="ridge")
    several = leepfrog.rank(photos, ["made"], scores=["ridge"])
    assert one.models[0].name == "made"
    assert one.receipt.arguments == several.receipt.arguments
    assert one.receipt.arguments["scores"] == ["ridge"]
    assert leepfrog.rank(Place(photos), Place(tiny)).models[0].name == "made"
    with pytest.raises(leepfrog.UsageError, match="'leap'"):
        leepfrog.rank(photos, "made", scores="leap")
    with pytest.raises(leepfrog.UsageError, match="'mode'"):
        leepfrog.rank(photos, "mode")
    baseline = photos.parent / "baseline.json"
    baseline.write_text(json.dumps(one.as_dict()))
    checked = leepfrog.check(str(baseline), Place(photos), models=Place(tiny), fail_on="size")
    assert (checked.passed, checked.criteria) == (True, ("size",))
    with pytest.raises(leepfrog.UsageError, match="'sise'"):
        leepfrog.check(baseline, photos, fail_on="sise")


def test_fault_19_every_sequence_of_names_takes_a_bare_string(
    tiny: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in (leepfrog.rank, leepfrog.validate, leepfrog.study_tasks, leepfrog.check, class_subset, score_files):
        for name, hint in typing.get_type_hints(function).items():
            parts = typing.get_args(hint)
            if any(typing.get_args(part)[:1] == (str,) for part in parts):
                assert str in parts, (function, name)
    with pytest.raises(leepfrog.UsageError, match="at least 2"):
        leepfrog.validate(photos, "made", scores="ridge")
    with pytest.raises(leepfrog.UsageError, match="'leap'"):
        leepfrog.validate(photos, "made", scores="leap")
    images = leepfrog.find_images(photos)
    with pytest.raises(leepfrog.UsageError, match="at least 2 classes"):
        class_subset(images, images.classes[0])
    study = leepfrog.study_tasks(photos, "made", 3, scores="leep")
    assert study.receipt.arguments["scores"] == ["leep"]


def test_fault_19_paths_may_be_text_or_any_path(tiny: Path, photos: Path, tmp_path: Path) -> None:
    whole = embedding()
    for n, kind in enumerate((str, Path, Place)):
        path: Any = kind(tmp_path / f"{n}.npz")  # type: ignore[arg-type]
        whole.save(path)
        assert Embedding.load(path) == whole
        library = Library(kind(tmp_path / f"library{n}"))  # type: ignore[arg-type]
        assert not library.add(whole, {"model": np.float32(0.25)})
        assert library.errors() == read_errors(kind(tmp_path / f"library{n}" / "errors.csv"))  # type: ignore[arg-type]
        assert ModelFile.read(kind(tiny)).name == "made"  # type: ignore[arg-type]
        probe: Any = kind(tiny.with_name("made.fisher.onnx"))  # type: ignore[arg-type]
        assert ProbeFile.read(probe) == find_probe(probe)
        assert len(leepfrog.find_images(kind(photos))) == 12  # type: ignore[arg-type]
        assert leepfrog.explain(kind(photos), kind(tiny)).model == "made"  # type: ignore[arg-type]
        arrays: dict[str, Any] = {}
        for name, array in {"labels": LABELS, "probs": PROBS, "features": FEATURES}.items():
            np.save(tmp_path / f"{name}.npy", array)
            arrays[name] = kind(tmp_path / f"{name}.npy")  # type: ignore[arg-type]
        assert score_files(**arrays, names="knn").scores["knn"].n_samples > 0


def test_fault_19_exports_take_text_as_paths(home: Path, tmp_path: Path) -> None:
    source = made.classifier().save(tmp_path / "source.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    options = ExportOptions(
        output=str(tmp_path / "out.onnx"), labels=str(tmp_path / "labels.txt"), preprocess=made.IMAGENET
    )
    assert export(f"onnx:{source}", options).metadata.labels == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("name", score_functions())
def test_fault_19_scores_take_labels_of_text(name: str) -> None:
    function = score_functions()[name]
    given = PROBS if "probs" in inspect.signature(function).parameters else FEATURES
    plain = function(given, LABELS)
    for labels in (NAMES, NAMES.tolist(), NAMES.astype(object), list(map(np.str_, NAMES))):
        assert function(given, labels) == plain
    assert function(given, LABELS > 1) == function(given, (LABELS > 1).astype(int))
    for mixed in (["cat", float("nan"), *NAMES[2:]], ["cat", None, *NAMES[2:]], ["cat", 1, *NAMES[2:]]):
        with pytest.raises(leepfrog.ArrayError, match="integers or strings"):
            function(given, mixed)


def test_fault_19_scores_format_and_compare() -> None:
    score, other = scores.knn(FEATURES, LABELS), scores.knn(RNG.normal(size=(24, 5)), LABELS)
    assert f"{score:.3f}" == f"{score.value:.3f}"
    assert f"{score}" == repr(score)
    assert score > other
    assert max(other, score) is score
    assert score > 0 < score
    assert 0 <= score <= score.value <= 1
    assert score == score.value
    assert score != other
    assert score == scores.knn(FEATURES, LABELS)
    with pytest.raises(TypeError, match="not supported"):
        _ = score > scores.ridge(FEATURES, LABELS)
    with pytest.raises(TypeError, match="not supported"):
        _ = score > "0"


def test_fault_19_equality_is_one_answer(photos: Path) -> None:
    assert embedding() == embedding()
    assert embedding() != embedding((1.0, 2.5))
    assert embedding() != embedding(spread=(0.5, 0.5))
    assert embedding() != 1
    assert repr(embedding()) == "Embedding('task', 2 filters of 1 layers of unknown 00000000)"
    images = leepfrog.find_images(photos)
    assert images == leepfrog.find_images(photos)
    assert images != images[:-1]
    pixels = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    arrays = leepfrog.ImageSet.from_arrays(pixels, ["a", "b"] * 2)
    assert arrays == leepfrog.ImageSet.from_arrays(list(pixels), ["a", "b"] * 2)
    assert arrays != leepfrog.ImageSet.from_arrays(255 - pixels, ["a", "b"] * 2)


def test_fault_19_exported_data_with_arrays_can_be_compared() -> None:
    for name in leepfrog.__all__:
        kind = getattr(leepfrog, name)
        if dataclasses.is_dataclass(kind) and any(
            "Floats" in str(f.type) or "NDArray" in str(f.type) for f in dataclasses.fields(kind)
        ):
            assert "__eq__" in vars(kind), name
            assert kind.__dataclass_params__.eq is False, name


def test_fault_19_image_sets_have_slices_and_a_short_repr(tiny: Path, photos: Path) -> None:
    images = leepfrog.find_images(photos)
    assert len(images[:8]) == len(images[np.arange(8)]) == len(images[list(range(8))]) == 8
    assert images[:8] == images[np.arange(12) < 8]
    assert images[3] is images.images[3]
    assert images[np.int64(-1)] is images.images[-1]
    assert list(images) == list(images.images)
    some = images[::4]
    assert (some.classes, some.labels.tolist()) == (images.classes, [0, 1, 2])
    assert images[8:].classes == images.classes[2:]
    with pytest.raises(IndexError):
        images[12]
    ranking = leepfrog.rank(images[:8])
    assert list(ranking.classes) == list(images.classes[:2])
    assert ranking.n_images == 8
    big = leepfrog.ImageSet.from_arrays(np.zeros((40, 9, 9), np.uint8), np.arange(40))
    assert repr(big) == "ImageSet('arrays', 40 images of 40 classes: 0, 1, 2, 3, 4, ...)"
    assert len(repr(big[0])) < 60


def test_fault_19_errors_are_of_the_usual_kinds(tmp_path: Path) -> None:
    for call in (
        lambda: scores.ridge(FEATURES, LABELS[:-1]),
        lambda: leepfrog.rank(tmp_path / "none", by="leap"),
        lambda: leepfrog.find_images(tmp_path / "none"),
        lambda: Embedding.load(tmp_path / "none.npz"),
        lambda: leepfrog.ImageSet.from_arrays([], []),
    ):
        with pytest.raises(ValueError, match=r".") as caught:
            call()
        assert isinstance(caught.value, leepfrog.LeepfrogError)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write") as refused:
        embedding().save(tmp_path / "file" / "x.npz")
    assert isinstance(refused.value, leepfrog.MachineError)
    assert not isinstance(refused.value, ValueError)


def swallowed(source: str) -> Iterator[str]:
    """Find leepfrog errors raised in a `try` block whose handlers would catch them as built-in errors."""
    bases = {
        name: {base.__name__ for base in value.__mro__}
        for name, value in vars(errors).items()
        if isinstance(value, type)
    }
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Try):
            continue
        raised = [statement for part in node.body for statement in ast.walk(part) if isinstance(statement, ast.Raise)]
        for statement in raised:
            name = ast.unparse(statement.exc.func) if isinstance(statement.exc, ast.Call) else ""
            for handler in node.handlers:
                types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
                caught = {ast.unparse(kind) for kind in types if kind is not None} & bases.get(name, set())
                if caught and caught <= {"ValueError", "OSError"}:  # and not leepfrog's error itself
                    yield f"line {statement.lineno}: {name} is caught as {', '.join(caught)}"
                if caught:
                    break


def test_fault_19_no_handler_of_pythons_errors_catches_ours() -> None:
    assert list(swallowed("try:\n    raise ImageError('x')\nexcept ValueError:\n    pass")) != []
    findings = [
        f"{path.name} {line}"
        for package in (leepfrog, leepfrog_exporter)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        for line in swallowed(path.read_text())
    ]
    assert findings == []


@pytest.mark.parametrize("empty", ["", "a\0b"])
def test_fault_31_empty_paths_from_python(empty: str, tiny: Path, photos: Path, tmp_path: Path) -> None:
    embedding = leepfrog.embed(photos, probe="made")
    calls: list[Callable[[], object]] = [
        lambda: leepfrog.rank(empty),
        lambda: leepfrog.find_images(empty),
        lambda: leepfrog.embed(empty, probe="made"),
        lambda: embedding.save(empty),
        lambda: Library(empty),
        lambda: export(f"onnx:{tiny}", ExportOptions(output=empty)),
    ]
    for call in calls:
        with pytest.raises(errors.UsageError, match="is not a valid path to"):
            call()


def test_fault_19_types_are_checked_before_any_work(tiny: Path, photos: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"budget must be a leepfrog\.Budget, not dict"):
        leepfrog.rank(photos, budget={"latency": 1})  # type: ignore[arg-type]
    with pytest.raises(errors.UsageError, match="threads must be 1 to"):
        leepfrog.rank(photos, context=RunContext(threads=1.5))  # type: ignore[arg-type]
