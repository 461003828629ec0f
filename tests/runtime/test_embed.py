"""Task embeddings end to end: torch autograd, invariances, early stopping, bad images and the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from commands import Here, run
from leepfrog.errors import DataSetError, ImageError, ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.images.dataset import ImageSet
from leepfrog.images.preprocess import normalize, resize_and_crop
from leepfrog.inference.model_lookup import find_models
from leepfrog.task2vec.distances import distances
from leepfrog.task2vec.embed import embed, find_probe
from leepfrog.task2vec.embedding import Embedding
from leepfrog.task2vec.head import fit_head
from leepfrog_exporter.export import export
from leepfrog_exporter.gradient.probe import export_probe
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.presets import PreprocessChoice
from leepfrog_exporter.sources import builder
from photos import loaded, photo_set, pieces
from PIL import Image
from rankings import Listener
from reference.fisher import squared_gradients
from subtasks import disjoint_samples


@pytest.mark.full
def test_equals_the_definition_by_torch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with squared gradients of log p by autograd, averaged over images and predicted labels.

    SqueezeNet is used because it has no batch norms, which folding would rescale.
    """
    package("torch").manual_seed(0)
    network = builder("torchvision")("squeezenet1_1", pretrained=False)
    monkeypatch.setattr("leepfrog_exporter.sources.torchvision.build", lambda *_args, **_kwargs: network)
    choice = PreprocessChoice(input_size=(96, 96))
    file = export("torchvision:squeezenet1_1", made.options(random_weights=True, preprocess=choice))
    export_probe(file)
    images = photo_set(3)
    found = embed(images, file.name, estimator="exact", tolerance=0, l2=0.1)
    features = infer(images, [file], RunContext(threads=1)).models[0].features()
    head = fit_head(features, images.labels, 0.1)
    spec, probs = file.metadata.preprocess, head.probs(features)
    batch = normalize(np.stack([resize_and_crop(loaded(image)[1], spec) for image in images.images]), spec)
    expected = np.zeros(len(found.vector))
    for label in range(3):
        sent = ((np.eye(3)[label] - probs) @ head.weights.T).astype(np.float32)
        layers = squared_gradients(network.module, batch, sent, np.float64)
        squares = np.concatenate([layer.squared for layer in layers], axis=1)
        expected += (probs[:, [label]] * squares).mean(axis=0)
    # Parallel layers run in a different order here; within a layer, the order of filters is the same.
    by_sum = sorted(np.split(expected, np.cumsum([layer.squared.shape[1] for layer in layers])[:-1]), key=np.sum)
    ours_by_sum = sorted(
        np.split(found.vector, np.cumsum([layer.n_filters for layer in found.layers])[:-1]), key=np.sum
    )
    for ours, theirs in zip(ours_by_sum, by_sum, strict=True):
        alive = theirs > 1e-3 * theirs.max()
        np.testing.assert_allclose(ours[alive], theirs[alive], rtol=0.02)
    assert found.made["n_images"] == 9


@pytest.mark.full
def test_estimators_agree(tiny: Path) -> None:
    """Check agreement within standard errors, over 30 images repeated 20 times."""
    thirty = photo_set(10)
    repeated = ImageSet(thirty.name, thirty.classes, [*thirty.images] * 20, np.tile(thirty.labels, 20))
    exact = embed(thirty, "made", estimator="exact", tolerance=0, l2=0.1)
    for estimator in ("signs", "sampled"):
        found = embed(repeated, "made", estimator=estimator, tolerance=0, l2=0.1)
        deviation = np.abs(found.vector - exact.vector)
        assert (deviation <= 4.5 * found.standard_errors + 1e-6 * exact.vector.max()).all(), estimator


def test_threads_batches_and_the_order_of_images_change_nothing(tiny: Path) -> None:
    images = photo_set(6)
    whole = embed(images, "made", tolerance=0, l2=0.1, context=RunContext(threads=1))
    for threads in (2, 3):
        again = embed(images, "made", tolerance=0, l2=0.1, context=RunContext(threads=threads))
        np.testing.assert_allclose(again.vector, whole.vector, rtol=1e-5)
    assert (
        embed(images, "made", tolerance=0, l2=0.1, context=RunContext(threads=1)).vector.tolist()
        == whole.vector.tolist()
    )
    other = embed(images, "made", tolerance=0, l2=0.1, seed=1, context=RunContext(threads=1))
    assert other.vector.tolist() != whole.vector.tolist()
    # With the exact estimator, the order of images affects only rounding.
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = ImageSet(images.name, images.classes, [images.images[i] for i in order], images.labels[order])
    a, b = (embed(each, "made", estimator="exact", tolerance=0, l2=0.1) for each in (images, shuffled))
    np.testing.assert_allclose(a.vector, b.vector, rtol=1e-5)
    assert a.made["receipt"]["data"] == b.made["receipt"]["data"]


@pytest.mark.full
def test_stops_once_stable(tiny: Path) -> None:
    images = photo_set(80)
    whole = embed(images, "made", tolerance=0)
    found = embed(images, "made", tolerance=2 * whole.self_distance)
    assert 64 <= found.made["n_images"] < 240
    assert found.self_distance <= 2 * whole.self_distance
    assert found.made["n_available"] == whole.made["n_images"] == 240
    assert distances([found, whole])[0, 1] < 5 * found.self_distance
    assert embed(images, "made", tolerance=0, max_images=20).made["n_images"] == 20


def test_disjoint_samples_are_nearest(zoo_home: Path) -> None:
    """With trained weights and late layers, samples of the same task are nearest to each other."""
    export_probe(find_models(["mobilenet_v2"])[0], depth=6)
    subjects = [("cat", "coffee"), ("china", "rocket")]
    parts = [part for pair in subjects for part in disjoint_samples(photo_set(24, pair), 2)]
    found = distances([embed(part, "mobilenet_v2", tolerance=0) for part in parts])
    np.fill_diagonal(found, np.inf)
    assert found.argmin(axis=1).tolist() == [1, 0, 3, 2]


def test_head_only_is_the_heads_fisher_information(tiny: Path) -> None:
    """Compare with finite differences of log p(y|x) in each weight of the head."""
    images = photo_set(4)
    found = embed(images, "made", head_only=True, l2=0.1)
    assert found.made["probe_sha256"] is None
    features = infer(images, find_models(["made"]), RunContext(threads=1)).models[0].features().astype(np.float64)
    head = fit_head(features, images.labels, 0.1)

    def log_probs(weights: np.ndarray) -> np.ndarray:
        logits = features @ weights + head.bias
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    expected, probs, h = np.zeros(features.shape[1]), head.probs(features), 1e-6
    for d, c in np.ndindex(head.weights.shape):
        step = np.zeros_like(head.weights)
        step[d, c] = h
        slopes = (log_probs(head.weights + step) - log_probs(head.weights - step)) / (2 * h)
        expected[d] += (probs * slopes**2).sum(axis=1).mean() / head.weights.shape[1]
    np.testing.assert_allclose(found.vector, expected, rtol=1e-5, atol=1e-12)


def test_bad_images_are_left_out(tiny: Path, tmp_path: Path) -> None:
    for i, (subject, piece) in enumerate((s, p) for s in ("cat", "china") for p in pieces(s, 5)):
        folder = tmp_path / "photos" / subject
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(piece).save(folder / f"{i}.png")
    good = embed(tmp_path / "photos", "made", tolerance=0)
    broken = tmp_path / "photos" / "cat" / "broken.png"
    broken.write_bytes((tmp_path / "photos" / "cat" / "0.png").read_bytes()[:200])
    found = embed(tmp_path / "photos", "made", tolerance=0)
    data, of_good = (each.made["receipt"]["data"] for each in (found, good))
    assert [image["name"] for image in data["skipped"]] == [str(broken)]
    assert found.made["n_images"] == good.made["n_images"] == 10
    assert data["sha256"] == of_good["sha256"]
    assert found.name.endswith("/photos")
    with pytest.raises(ImageError, match=r"broken\.png"):
        embed(tmp_path / "photos", "made", context=RunContext(strict=True))


def test_progress_says_what_is_done(tiny: Path) -> None:
    listener = Listener()
    embed(photo_set(3), "made", context=RunContext(progress=listener))
    assert listener.stages["backward passes, made"] == [9, 9]
    assert listener.stages["fitting the head"] == [1, 1]


def test_what_is_refused(tiny: Path, tmp_path: Path) -> None:
    images = photo_set(2)
    with pytest.raises(UsageError, match=r"no model called 'x' has a probe \(there are probes of made\)"):
        embed(images, "x")
    with pytest.raises(UsageError, match="estimator 'guess' is unknown"):
        embed(images, "made", estimator="guess")
    with pytest.raises(UsageError, match="tolerance must be 0 or more"):
        embed(images, "made", tolerance=float("nan"))
    with pytest.raises(UsageError, match="max_images must be at least 2"):
        embed(images, "made", max_images=1)
    with pytest.raises(UsageError, match="threads must be 1 to"):
        embed(images, "made", context=RunContext(threads=0))
    with pytest.raises(DataSetError, match="only one class"):
        embed(ImageSet("one", ("a",), images.images, np.zeros(len(images), np.int64)), "made")
    assert find_probe(tiny).path == find_probe("made").path
    with pytest.raises(ModelError, match="cannot be read"):
        find_probe(tmp_path / "none.onnx")
    changed = made.scoring()
    changed.graph.initializer[0].raw_data = bytes(len(changed.graph.initializer[0].raw_data))
    tiny.write_bytes(changed.SerializeToString())
    with pytest.raises(ModelError, match=r"was exported from a different made\.onnx than the one in this folder"):
        embed(images, "made")


def test_the_command_line(tiny: Path, here: Here) -> None:
    for subject in ("cat", "china"):
        (here.folder / "photos" / subject).mkdir(parents=True)
        for i, piece in enumerate(pieces(subject, 4)):
            Image.fromarray(piece).save(here.folder / "photos" / subject / f"{i}.png")
    shutil.copytree(here.folder / "photos", here.folder / "again")
    done = here.call("embed", "photos", "--probe", "made", "-o", "a.npz", "--name", "first")
    done.check(0)
    assert f"a.npz  first: {made.WIDTH} filters of 1 layer(s) of made, 8 of 8 images" in done.out
    assert here.call("embed", "again", "--probe", "made", "-o", "b.npz", "-q").err == ""
    first, second = (Embedding.load(here.folder / f"{name}.npz") for name in "ab")
    assert first.vector.tolist() == second.vector.tolist()
    table = here.call("distance", "a.npz", "b.npz")
    table.check(0)
    assert table.out.splitlines()[0].split()[:3] == ["from", "to", "symmetric"]
    assert here.call("distance", "a.npz", "b.npz", "--kind", "symmetric", "--format", "json").out.startswith("{")
    refused = here.call("distance", "a.npz", "photos/cat/0.png")
    refused.check(3)
    assert refused.err.count("\n") == 1
    here.call("distance", "a.npz").check(2)
    here.call("embed", "photos", "--probe", "made", "-o", "a.txt").check(2, "must be an .npz file")


@pytest.mark.full
def test_scoring_never_imports_torch_or_onnx(tiny: Path, tmp_path: Path) -> None:
    for subject in ("cat", "china"):
        (tmp_path / "photos" / subject).mkdir(parents=True)
        for i, piece in enumerate(pieces(subject, 3)):
            Image.fromarray(piece).save(tmp_path / "photos" / subject / f"{i}.png")
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
        "import leepfrog\n"
        f"a = leepfrog.embed({str(tmp_path / 'photos')!r}, 'made')\n"
        "print(leepfrog.distances([a, a]).round(9).tolist())\n"
    )
    done = run(code=code)
    assert (done.code, done.out) == (0, "[[0.0, 0.0], [0.0, 0.0]]\n"), done.err
