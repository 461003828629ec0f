"""Ranking real models on real photographs: the numbers, the cache, bad images, interruptions."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from leepfrog.errors import DataSetError, ImageError, MachineError, UsageError
from leepfrog.images.decode import decode
from leepfrog.images.preprocess import normalise, resize_and_crop
from leepfrog.inference.cache import OutputCache, cache_key
from leepfrog.inference.local import find_models
from leepfrog.inference.model import Session
from leepfrog.ranking.rank import tied
from leepfrog.ranking.result import Ranking
from photos import SUBJECTS, folder_of_pieces, photo, pieces
from reference import leep as oracle

FAST = ("mobilenet_v2", "efficientnet_lite0")


class Listener:
    """A leepfrog.progress.Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}
        self.notices: list[str] = []

    def start(self, what: str, total: int) -> None:
        self.stages[what] = [0, total]

    def advance(self, steps: int) -> None:
        next(reversed(self.stages.values()))[0] += steps

    def notice(self, text: str) -> None:
        self.notices.append(text)


def values(ranking: Ranking) -> dict[str, tuple[float, float]]:
    return {m.name: (m.scores["leep"].value, m.scores["leep_loo"].value) for m in ranking.models}


def close(ranking: Ranking, other: Ranking) -> bool:
    left, right = values(ranking), values(other)
    return left.keys() == right.keys() and all(np.allclose(left[k], right[k], rtol=0, atol=1e-6) for k in left)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_starter_recognises_photographs(zoo_home: Path, subject: str) -> None:
    from PIL import Image

    among, words = SUBJECTS[subject]
    for model in find_models([]):
        spec = model.metadata.preprocess
        crop = resize_and_crop(Image.fromarray(photo(subject)), spec)
        probs, _ = Session(model, "cpu", 1).run(normalise(crop[None], spec))
        best = [model.metadata.labels[z].lower() for z in np.argsort(-probs[0])[:among]]
        assert any(word in label for label in best for word in words), (model.name, best)


def test_scores_are_those_of_the_models_outputs(zoo_home: Path, tmp_path: Path) -> None:
    """From JPEG files to LEEP, against one image at a time, plain onnxruntime and the exact oracle."""
    folder = folder_of_pieces(tmp_path / "photos", count=5)
    ranking = leepfrog.rank(folder, FAST)
    assert ranking.n_images == 15
    assert ranking.classes == {"cat": 5, "coffee": 5, "rocket": 5}
    paths = sorted(folder.glob("*/*.jpg"))
    labels = [sorted(ranking.classes).index(path.parent.name) for path in paths]
    for model in find_models(FAST):
        spec, session = model.metadata.preprocess, Session(model, "cpu", 2)
        rows = [session.run(normalise(resize_and_crop(decode(p.read_bytes()), spec)[None], spec))[0][0] for p in paths]
        keep = np.argsort(-np.sum(rows, axis=0))[:60]  # the exact oracle is slow; the rest of the mass goes into one
        plain, held_out = values(ranking)[model.name]
        full = leepfrog.leep(np.array(rows), labels), leepfrog.leep_loo(np.array(rows), labels)
        assert plain == pytest.approx(full[0].value, abs=1e-6)
        assert held_out == pytest.approx(full[1].value, abs=1e-6)
        lumped = np.array(rows, dtype=np.float64)[:, keep]
        lumped = np.column_stack([lumped, 1 - lumped.sum(axis=1)])
        assert leepfrog.leep(lumped, labels).value == pytest.approx(oracle.leep(lumped, labels), abs=1e-12)


def test_the_second_run_takes_no_inference(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos")
    first, second = leepfrog.rank(folder, FAST), leepfrog.rank(folder, FAST)
    assert [m.n_inferred for m in first.models] == [24, 24]
    assert [m.n_inferred for m in second.models] == [0, 0]
    assert values(first) == values(second)
    assert [m.seconds_per_image for m in first.models] == [m.seconds_per_image for m in second.models]


def test_new_images_and_new_models_alone_are_computed(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos")
    leepfrog.rank(folder, FAST[:1])
    shutil.copytree(folder_of_pieces(tmp_path / "more", names=("china",)) / "china", folder / "china")
    listener = Listener()
    again = leepfrog.rank(folder, FAST, progress=listener)
    assert {m.name: m.n_inferred for m in again.models} == {FAST[0]: 8, FAST[1]: 32}
    assert listener.stages["inference, 2 models"] == [40, 40]
    shutil.rmtree(zoo_home / "inference")
    assert close(again, leepfrog.rank(folder, FAST))


def test_another_preprocessing_is_another_cache_entry(zoo_home: Path) -> None:
    import dataclasses

    model = find_models(FAST[:1])[0]
    spec = dataclasses.replace(model.metadata.preprocess, interpolation="nearest")
    other = dataclasses.replace(model, metadata=dataclasses.replace(model.metadata, preprocess=spec))
    assert len({cache_key(model, "cpu"), cache_key(other, "cpu"), cache_key(model, "cuda")}) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut short", "emptied", "replaced"])
def test_a_damaged_cache_entry_is_computed_again_and_told(zoo_home: Path, tmp_path: Path, damage: str) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    first = leepfrog.rank(folder, FAST[:1])
    (shard,) = (zoo_home / "inference").glob("*/*.npy")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = {"flipped": bytes(content), "cut short": content[:-100], "emptied": b"", "replaced": b"x"}
    shard.write_bytes(damaged[damage])
    listener = Listener()
    second = leepfrog.rank(folder, FAST[:1], progress=listener)
    assert second.models[0].n_inferred == 9
    assert any("damaged" in notice for notice in listener.notices)
    assert close(first, second)
    assert leepfrog.rank(folder, FAST[:1]).models[0].n_inferred == 0


def test_a_cache_that_cannot_be_written_costs_only_the_cache(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    (zoo_home / "inference").write_text("a file where the folder should be")  # bites root too, unlike permissions
    listener = Listener()
    blocked = leepfrog.rank(folder, FAST, progress=listener)
    assert len([n for n in listener.notices if "not cached" in n]) == 2
    (zoo_home / "inference").unlink()
    assert close(blocked, leepfrog.rank(folder, FAST))


def test_order_of_images_does_not_matter(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    rows = [(str(path.relative_to(folder)), path.parent.name) for path in folder.glob("*/*.jpg")]
    np.random.default_rng(3).shuffle(rows)
    table = folder / "shuffled.csv"
    with open(table, "w", newline="") as stream:
        csv.writer(stream).writerows([("file_name", "label"), *rows])
    first = leepfrog.rank(table, FAST)
    shutil.rmtree(zoo_home / "inference")
    assert close(first, leepfrog.rank(folder, FAST))


def test_arrays_rank_like_the_files_they_came_from(zoo_home: Path, tmp_path: Path) -> None:
    from PIL import Image

    arrays, labels = [], []
    for name in ("cat", "coffee"):
        (tmp_path / "png" / name).mkdir(parents=True)
        for i, piece in enumerate(pieces(name, 3)):
            Image.fromarray(piece).save(tmp_path / "png" / name / f"{i}.png")
            arrays.append(piece)
            labels.append(name)
    held = leepfrog.rank(leepfrog.ImageSet.from_arrays(arrays, labels), FAST)
    assert close(held, leepfrog.rank(tmp_path / "png", FAST))
    assert held.classes == {"cat": 3, "coffee": 3}


def test_bad_images_are_skipped_counted_and_named(zoo_home: Path, tmp_path: Path) -> None:
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
        leepfrog.rank(folder, FAST[:1], strict=True)


def test_copies_and_contradictions_are_noted(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    shutil.copy(folder / "cat" / "00.jpg", folder / "cat" / "copy.jpg")
    shutil.copy(folder / "cat" / "01.jpg", folder / "rocket" / "torn.jpg")
    ranking = leepfrog.rank(folder, FAST[:1])
    assert ranking.n_images == 11
    assert ranking.models[0].n_inferred == 9
    assert any("2 image(s) are copies" in note for note in ranking.notes)
    assert any("1 image(s) appear in more than one class" in note for note in ranking.notes)


def test_a_class_lost_to_bad_images(zoo_home: Path, tmp_path: Path) -> None:
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


def test_one_image_a_class_is_said_to_be_too_few(zoo_home: Path, tmp_path: Path) -> None:
    ranking = leepfrog.rank(folder_of_pieces(tmp_path / "photos", count=1), FAST[:1])
    assert ranking.models[0].scores["leep_loo"].value == pytest.approx(-np.log(9))
    assert any("single image" in note for note in ranking.notes)


def test_wrong_calls(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    with pytest.raises(UsageError, match="score 'logme' is unknown"):
        leepfrog.rank(folder, by="logme")
    with pytest.raises(UsageError, match=r"no exported model is called 'resnet99'.*leepfrog zoo pull resnet99"):
        leepfrog.rank(folder, ["resnet99"])
    with pytest.raises(UsageError, match="at least 1"):
        leepfrog.rank(folder, threads=0)
    with pytest.raises(UsageError, match="device 'tpu' is unknown"):
        leepfrog.rank(folder, device="tpu")


def test_a_gpu_that_is_not_there_is_an_error(zoo_home: Path, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert leepfrog.rank(folder_of_pieces(tmp_path / "photos", count=1), FAST[:1], device="cuda").n_images == 3
    else:
        with pytest.raises(MachineError, match="onnxruntime-gpu"):
            leepfrog.rank(folder_of_pieces(tmp_path / "photos", count=1), FAST[:1], device="cuda")


def test_ties_are_judged_in_pairs() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(-2, 1, 400)  # how hard each image is for every model
    assert tied(hard, hard)
    assert tied(hard + rng.normal(0, 0.1, 400), hard + rng.normal(0, 0.1, 400))
    # Far below the spread over images, yet certain, since it holds image by image.
    assert not tied(hard + 0.05, hard + rng.normal(0, 0.1, 400))


RANK = "import sys, leepfrog; leepfrog.rank(sys.argv[1], sys.argv[2:])"


def test_killed_runs_lose_nothing_that_was_finished(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=120)
    command = [sys.executable, "-c", RANK, str(folder), *FAST]
    deadline = time.monotonic() + 60
    run = subprocess.Popen(command, start_new_session=True)
    while not list((zoo_home / "inference").glob("*/*.npy")) and time.monotonic() < deadline:
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert run.returncode == -signal.SIGKILL
    listener = Listener()
    resumed = leepfrog.rank(folder, FAST, progress=listener)
    assert sum(m.n_inferred for m in resumed.models) <= 720 - 256
    assert not listener.notices
    shutil.rmtree(zoo_home / "inference")
    assert close(resumed, leepfrog.rank(folder, FAST))


def test_two_processes_fill_one_cache(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=10)
    command = [sys.executable, "-c", RANK, str(folder), FAST[0]]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        assert run.communicate(timeout=120)[1] == b""
        assert run.returncode == 0
    model = find_models(FAST[:1])[0]
    assert OutputCache(model, "cpu", pytest.fail).folder.is_dir()
    assert leepfrog.rank(folder, FAST[:1]).models[0].n_inferred == 0
