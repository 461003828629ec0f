"""Differences between two receipts, as possible causes of different results."""

from __future__ import annotations

from collections.abc import Iterator

from leepfrog.receipts.receipt import DataReceipt, ModelReceipt, Receipt

# Keys of the environment: RUNTIME and PICTURES can affect scores, MACHINE only timings.
RUNTIME = (
    "onnxruntime",
    "provider",
    "provider_options",
    "ort_options",
    "leepfrog",
    "numpy",
    "scipy",
    "numba",
    "python",
)
PICTURES = ("pillow", "image_pipeline", "heif")
MACHINE = ("threads", "machine", "processor", "system")


def data_causes(was: Receipt, now: Receipt) -> list[str]:
    """Return how the images or arrays differ."""
    causes = [
        f"data: array {name} changed"
        for name in {**was.arrays, **now.arrays}
        if name not in was.arrays or name not in now.arrays or was.arrays[name].sha256 != now.arrays[name].sha256
    ]
    if was.data is not None and now.data is not None and was.data.sha256 != now.data.sha256:
        causes += _images(was.data, now.data)
    return causes


def _images(was: DataReceipt, now: DataReceipt) -> Iterator[str]:
    gone, new = (sorted(a.classes.keys() - b.classes.keys()) for a, b in ((was, now), (now, was)))
    renamed = [
        (old, name)
        for old in gone
        for name in new
        if was.classes[old].n and was.classes[old].sha256 == now.classes[name].sha256
    ]
    for old, name in renamed:
        yield f"labels: class {old!r} renamed to {name!r}"
    gone = [name for name in gone if name not in {old for old, _ in renamed}]
    new = [name for name in new if name not in {name for _, name in renamed}]
    changed = [
        f"{name!r} {was.classes[name].n} -> {now.classes[name].n} images"
        if was.classes[name].n != now.classes[name].n
        else f"{name!r} {now.classes[name].n} images, but not the same ones"
        for name in was.classes
        if name in now.classes and was.classes[name].sha256 != now.classes[name].sha256
    ]
    changed += [f"{name!r} removed" for name in gone] + [f"{name!r} added" for name in new]
    same = was.images_sha256 == now.images_sha256
    if changed:
        shown = ", ".join(changed[:5]) + (f", {len(changed) - 5} more" if len(changed) > 5 else "")
        what = "labels: the same images in other classes" if same else "data: different images"
        yield f"{what}: {shown}"
    if len(was.skipped) != len(now.skipped):
        yield f"data: {len(was.skipped)} -> {len(now.skipped)} images skipped"


def model_causes(was: ModelReceipt, now: ModelReceipt) -> list[str]:
    """Return how a model file differs."""
    causes = []
    if was.weights_sha256 != now.weights_sha256:
        causes.append(f"model: weights changed ({was.weights_sha256[:8]} -> {now.weights_sha256[:8]})")
    if was.preprocess != now.preprocess:
        keys = [
            key for key in {**was.preprocess, **now.preprocess} if was.preprocess.get(key) != now.preprocess.get(key)
        ]
        changes = ", ".join(f"{key} {was.preprocess.get(key)} -> {now.preprocess.get(key)}" for key in keys)
        causes.append(f"preprocessing: {changes}")
    if was.weights_sha256 == now.weights_sha256 and was.graph_sha256 != now.graph_sha256:
        causes.append("model: same weights, but the graph was rewritten")
    if was.sha256 != now.sha256 and not causes:
        causes.append("model: metadata changed")
    return causes


def environment_causes(was: Receipt, now: Receipt) -> list[str]:
    """Return how the environment differs: image preprocessing, runtime and machine."""
    causes = []
    for what, keys in (("preprocessing", PICTURES), ("runtime", RUNTIME), ("machine", MACHINE)):
        changed = [
            f"{key} {_shown(was.environment.get(key))} -> {_shown(now.environment.get(key))}"
            for key in keys
            if was.environment.get(key) != now.environment.get(key)
        ]
        if changed:
            causes.append(f"{what}: {', '.join(changed)}")
    return causes


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={option}" for key, option in value.items()) or "none"
    return "unknown" if value in (None, "") else str(value)
