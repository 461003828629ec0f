"""Ranking real models on real photographs: scores, bad images, duplicates and invalid calls."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from leepfrog import scores
from leepfrog.errors import DataSetError, ImageError, MachineError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.images.decode import decode
from leepfrog.images.preprocess import normalize, resize_and_crop
from leepfrog.inference import load
from leepfrog.inference.model import Session
from leepfrog.inference.model_lookup import find_models
from leepfrog.scoring.registry import SCORES
from photos import SUBJECTS, folder_of_pieces, photo, pieces
from rankings import FAST, close, values
from reference import leep as oracle


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_starter_recognizes_photographs(zoo_home: Path, subject: str) -> None:
    from PIL import Image

    among, words = SUBJECTS[subject]
    for model in find_models([]):
        spec = model.metadata.preprocess
        crop = resize_and_crop(Image.fromarray(photo(subject)), spec)
        probs, _ = Session(model, "cpu", 1).run(normalize(crop[None], spec))
        best = [model.metadata.labels[z].lower() for z in np.argsort(-probs[0])[:among]]
        assert any(word in label for label in best for word in words), (model.name, best)


def test_scores_are_those_of_the_models_outputs(zoo_home: Path, tmp_path: Path) -> None:
    """LEEP of JPEG files matches single-image inference, and LEEP of merged classes matches the exact oracle."""
    folder = folder_of_pieces(tmp_path / "photos", count=5)
    ranking = leepfrog.rank(folder, FAST)
    assert ranking.n_images == 15
    assert ranking.classes == {"cat": 5, "coffee": 5, "rocket": 5}
    paths = sorted(folder.glob("*/*.jpg"))
    labels = [sorted(ranking.classes).index(path.parent.name) for path in paths]
    for model in find_models(FAST):
        spec, session = model.metadata.preprocess, Session(model, "cpu", 2)
        rows = [session.run(normalize(resize_and_crop(decode(p.read_bytes()), spec)[None], spec))[0][0] for p in paths]
        keep = np.argsort(-np.sum(rows, axis=0))[:60]  # the exact oracle is slow, so the other classes are merged
        plain, held_out = values(ranking)[model.name]
        full = leepfrog.leep(np.array(rows), labels), leepfrog.leep_loo(np.array(rows), labels)
        assert plain == pytest.approx(full[0].value, abs=1e-6)
        assert held_out == pytest.approx(full[1].value, abs=1e-6)
        lumped = np.array(rows, dtype=np.float64)[:, keep]
        lumped = np.column_stack([lumped, 1 - lumped.sum(axis=1)])
        assert leepfrog.leep(lumped, labels).value == pytest.approx(oracle.leep(lumped, labels), abs=1e-12)


def test_every_score_is_that_of_the_models_outputs(zoo_home: Path, tmp_path: Path) -> None:
    """An unreadable image affects no score."""
    folder = folder_of_pieces(tmp_path / "photos", count=5)
    (folder / "cat" / "bad.jpg").write_bytes(b"no image")
    ranking = leepfrog.rank(folder, FAST, by="ridge", scores=["all"])
    assert ranking.ranked_by == "ridge"
    assert len(ranking.skipped) == 1
    paths = sorted(path for path in folder.glob("*/*.jpg") if path.name != "bad.jpg")
    labels = [sorted(ranking.classes).index(path.parent.name) for path in paths]
    for model in find_models(FAST):
        spec, session = model.metadata.preprocess, Session(model, "cpu", 2)
        outputs = [session.run(normalize(resize_and_crop(decode(p.read_bytes()), spec)[None], spec)) for p in paths]
        probs, features = (np.concatenate(part) for part in zip(*outputs, strict=True))
        (row,) = (ranked for ranked in ranking.models if ranked.name == model.name)
        assert set(row.scores) == set(SCORES)
        for name, definition in SCORES.items():
            expected = getattr(scores, name)(probs if definition.reads == "probs" else features, labels)
            if definition.among is None:
                assert row.scores[name].value == pytest.approx(expected.value, rel=1e-3, abs=1e-4), name
            assert "terms" not in row.as_dict()["scores"][name]
    best, other = ranking.models
    assert best.scores["ridge"].value >= other.scores["ridge"].value
    assert best.tied_with_best
    assert sum(model.probability_best for model in ranking.models) == pytest.approx(1)
    for row in ranking.models:
        for score in row.scores.values():
            assert score.interval is not None
            assert score.interval[0] <= score.value <= score.interval[1]


def test_order_of_images_does_not_matter(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    rows = [(str(path.relative_to(folder)), path.parent.name) for path in folder.glob("*/*.jpg")]
    np.random.default_rng(3).shuffle(rows)
    table = folder / "shuffled.csv"
    with open(table, "w", newline="") as stream:
        csv.writer(stream).writerows([("file_name", "label"), *rows])
    first = leepfrog.rank(table, FAST)
    shutil.rmtree(two_home / "inference")
    assert close(first, leepfrog.rank(folder, FAST))


def test_arrays_rank_like_the_files_they_came_from(two_home: Path, tmp_path: Path) -> None:
    from PIL import Image

    arrays, labels = [], []
    for name in ("cat", "coffee"):
        (tmp_path / "png" / name).mkdir(parents=True)
        for i, piece in enumerate(pieces(name, 3)):
            Image.fromarray(piece).save(tmp_path / "png" / name / f"{i}.png")
            arrays.append(piece)
            labels.append(name)
    ranking = leepfrog.rank(leepfrog.ImageSet.from_arrays(arrays, labels), FAST)
    assert close(ranking, leepfrog.rank(tmp_path / "png", FAST))
    assert ranking.classes == {"cat": 3, "coffee": 3}


def test_bad_images_are_skipped_counted_and_named(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    clean = leepfrog.rank(folder, FAST[:1])
    (folder / "cat" / "text.jpg").write_text("not a picture")
    (folder / "cat" / "zero.png").write_bytes(b"")
    whole = (folder / "coffee" / "00.jpg").read_bytes()
    (folder / "coffee" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "rocket" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    ranking = leepfrog.rank(folder, FAST[:1])
    assert ranking.n_images == 9
    assert {Path(s.name).name for s in ranking.skipped} == {"text.jpg", "zero.png", "cut.jpg", "gone.jpg"}
    assert all(s.reason for s in ranking.skipped)
    assert close(clean, ranking)
    with pytest.raises(ImageError, match=r"(text|zero|cut|gone)\.\w+: "):
        leepfrog.rank(folder, FAST[:1], context=RunContext(strict=True))


def test_copies_and_contradictions_are_noted(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    shutil.copy(folder / "cat" / "00.jpg", folder / "cat" / "copy.jpg")
    shutil.copy(folder / "cat" / "01.jpg", folder / "rocket" / "torn.jpg")
    ranking = leepfrog.rank(folder, FAST[:1])
    assert ranking.n_images == 11
    assert ranking.models[0].n_inferred == 9
    assert any("2 image(s) are copies" in note for note in ranking.notes)
    assert any("1 image(s) appear in more than one class" in note for note in ranking.notes)


def test_a_class_lost_to_bad_images(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=2)
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "a.jpg").write_bytes(b"nothing")
    ranking = leepfrog.rank(folder, FAST[:1])
    assert ranking.classes == {"broken": 0, "cat": 2, "coffee": 2, "rocket": 2}
    assert any("empty has no images" in note for note in ranking.notes)
    assert any("no image of broken" in note for note in ranking.notes)
    for name in ("cat", "coffee"):
        shutil.rmtree(folder / name)
    with pytest.raises(DataSetError, match="only one class"):
        leepfrog.rank(folder, FAST[:1])


def test_one_image_a_class_is_said_to_be_too_few(two_home: Path, tmp_path: Path) -> None:
    ranking = leepfrog.rank(folder_of_pieces(tmp_path / "photos", count=1), FAST[:1])
    assert ranking.models[0].scores["leep_loo"].value == pytest.approx(-np.log(9))
    assert any("single image" in note for note in ranking.notes)


def test_wrong_calls(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    with pytest.raises(UsageError, match="score 'logmee' is unknown; did you mean logme"):
        leepfrog.rank(folder, by="logmee")
    with pytest.raises(UsageError, match="score 'all' is unknown"):
        leepfrog.rank(folder, by="all")
    with pytest.raises(UsageError, match="score 'nope' is unknown"):
        leepfrog.rank(folder, scores=["nope"])
    with pytest.raises(UsageError, match=r"no exported model is called 'resnet99'.*leepfrog zoo pull resnet50"):
        leepfrog.rank(folder, ["resnet99"])
    with pytest.raises(UsageError, match="threads must be 1 to"):
        leepfrog.rank(folder, context=RunContext(threads=0))
    with pytest.raises(UsageError, match="device 'tpu' is unknown"):
        leepfrog.rank(folder, context=RunContext(device="tpu"))


def test_a_gpu_that_is_not_there_is_an_error(two_home: Path, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert (
            leepfrog.rank(
                folder_of_pieces(tmp_path / "photos", count=1), FAST[:1], context=RunContext(device="cuda")
            ).n_images
            == 3
        )
    else:
        with pytest.raises(MachineError, match="onnxruntime-gpu"):
            leepfrog.rank(folder_of_pieces(tmp_path / "photos", count=1), FAST[:1], context=RunContext(device="cuda"))


def test_a_misspelt_name_reads_no_model(two_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, most: int) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(load, "read_regular", forbidden)
    with pytest.raises(UsageError, match="did you mean mobilenet_v2"):
        find_models(["mobilnet_v2"])
