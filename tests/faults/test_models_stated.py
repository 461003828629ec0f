"""Validation of untrusted metadata: types, ranges, printable text, and sizes before allocation."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import leepfrog
import models_made as made
import numpy as np
import pytest
from commands import Here, run
from leepfrog.errors import EmbeddingError, ModelError
from leepfrog.files import sealed, sha256_of, unsealed
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.header import MAX_ENTRIES, MAX_FIELDS, read_header
from leepfrog.inference.metadata import PREFIX, PROBE_PREFIX
from leepfrog.inference.model import ModelFile
from leepfrog.task2vec.embedding import Embedding
from leepfrog.task2vec.library import Library, read_errors
from leepfrog.task2vec.probe import ProbeFile
from onnx import ModelProto, helper
from photos import folder_of_pieces, photo_set

TOO_LARGE = "1" + "0" * 400
DEEP = "[" * 100_000


def stating(key: str, text: str, content: bytes | None = None, prefix: str = PREFIX) -> bytes:
    """Return a model (default: a scoring model) with one metadata entry replaced by the given JSON text."""
    model = ModelProto.FromString(content) if content else made.scoring()
    props = {entry.key: entry.value for entry in model.metadata_props} | {prefix + key: text}
    del model.metadata_props[:]
    helper.set_model_props(model, props)
    return model.SerializeToString()


VARIANT = {"precision": "int8", "parent": "made", "parent_sha256": "", "recipe": "", "tried": []}

REFUSED = [
    *[(key, text) for key in ("n_parameters", "macs", "top1") for text in (TOO_LARGE, "-1", "NaN", "Infinity", '"5"')],
    *[("n_parameters", text) for text in ("true", "1.5", "1e400", "null")],
    ("top1", "101"),
    ("name", '""'),
    *[(key, json.dumps("x" * 100_000)) for key in ("name", "source", "license", "weights_sha256")],
    *[(key, text) for key in ("name", "parity", "labels", "preprocess", "variant") for text in (DEEP, "7", "[[1]]")],
    ("labels", '"cat"'),
    ("labels", json.dumps(["x" * 5000])),
    ("labels", "[1, 2]"),
    ("parity", json.dumps({"max_difference": "large"})),
    ("variant", json.dumps({**VARIANT, "parent": 3})),
    ("variant", json.dumps({**VARIANT, "tried": [{"top1_agreement": 1.0}]})),
    ("preprocess", json.dumps(made.SPEC.as_dict() | {"interpolation": "x" * 100_000})),
    ("preprocess", json.dumps(made.SPEC.as_dict()).replace("8", TOO_LARGE)),
    ("format_version", json.dumps("9" * 100_000)),
    *[("has_probs", text) for text in ("null", "1", '"true"', "[true]")],
]


@pytest.mark.parametrize(("key", "text"), REFUSED, ids=lambda value: value[:12])
def test_fault_07_metadata_out_of_range_is_one_line(key: str, text: str, home: Path, here: Here) -> None:
    (here.folder / "odd.onnx").write_bytes(stating(key, text))
    here.call("bench", "odd.onnx").check(3, "odd.onnx: ")


HOSTILE = "a\x1b[31m\n\r\0\u202e\ud800=z"


@pytest.mark.parametrize("key", ["name", "source", "license", "weights_sha256"])
def test_fault_07_texts_are_printable(key: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(stating(key, json.dumps(HOSTILE)))
    value = getattr(ModelFile.read(path).metadata, key)
    assert value.isprintable()
    assert value == "a\\x1b[31m\\n\\r\\x00\\u202e\\ud800=z"


def test_fault_07_lone_surrogates_in_labels_and_a_parents_control_characters(home: Path, here: Here) -> None:
    labels = json.dumps([HOSTILE] * made.CLASSES)
    parity = json.dumps({"top1_agreement": 1.0, "features_cosine": 1.0, "n_inputs": 4, "reference": HOSTILE})
    content = stating("parity", parity, stating("variant", json.dumps({**VARIANT, "parent": HOSTILE})))
    (here.folder / "odd.onnx").write_bytes(stating("labels", labels, content))
    folder_of_pieces(here.folder / "photos", count=3)
    here.call("explain", "photos", "-m", "odd.onnx", "-o", "x.json").check(0)
    assert "\\ud800" in json.loads((here.folder / "x.json").read_text())["classes"][0]["carriers"][0]["name"]
    here.call("rank", "photos", "-m", "odd.onnx", "-o", "x.csv").check(0)
    rows = list(csv.reader(io.StringIO((here.folder / "x.csv").read_text(encoding="utf-8"), newline="")))
    assert all(cell.isprintable() for row in rows for cell in row)
    assert any("\\x1b" in cell for row in rows for cell in row)


def test_fault_07_kept_costs_and_baselines_hold_no_impossible_numbers(home: Path, here: Here) -> None:
    for text in (TOO_LARGE, "NaN", "-Infinity", "1e999", DEEP):  # with a valid seal, where Python can compute one
        values = float(text) if text in ("NaN", "-Infinity", "1e999") else int(text) if text == TOO_LARGE else []
        seal = sha256_of(json.dumps({"latency": values}).encode())
        with pytest.raises(ValueError, match="it "):
            unsealed(f'{{"latency": {text}, "sha256": "{seal}"}}'.encode())
    assert unsealed(sealed({"latency": 0.5})) == {"latency": 0.5}
    folder_of_pieces(here.folder / "photos", count=3)
    for text in (TOO_LARGE, "NaN", DEEP):
        (here.folder / "base.json").write_text(f'{{"kind": "ranking", "schema_version": 2, "models": {text}}}')
        here.call("check", "base.json", "photos").check(2, "base.json: is not JSON")


# ---- sizes


LAYER = {"name": "w", "kind": "conv", "n_filters": 4, "n_weights": 9, "correlation": None}
PROBES = [
    ("layers", json.dumps([{**LAYER, "n_filters": 10**12}])),
    ("layers", json.dumps([LAYER | {"n_filters": 1 << 20}] * 2)),
    ("layers", json.dumps([LAYER] * 100_000)),
    ("layers", json.dumps([{**LAYER, "n_weights": 10**30}])),
    ("layers", json.dumps([{**LAYER, "name": "x" * 100_000}])),
    ("n_features", str(10**12)),
    ("skipped", str(10**12)),
    ("name", json.dumps("x" * 100_000)),
]


@pytest.mark.parametrize(("key", "text"), PROBES, ids=lambda value: value[:12])
def test_fault_34_sizes_that_a_probe_declares_are_bounded(key: str, text: str, tiny: Path, here: Here) -> None:
    path = tiny.with_name(f"made{PROBE_SUFFIX}")
    path.write_bytes(stating(key, text, path.read_bytes(), PROBE_PREFIX))
    with pytest.raises(ModelError, match=r"metadata is (invalid|not JSON)"):
        ProbeFile.read(path)
    folder_of_pieces(here.folder / "photos", count=3)
    here.call("embed", "photos", "--probe", "made", "-o", "task.npz", "-q").check(3, "fisher.onnx: ", "metadata is")


def test_fault_34_widths_that_a_model_declares_are_bounded(home: Path, here: Here) -> None:
    often = np.array([1, (1 << 20) // made.WIDTH + 1])
    model = made.scoring_through("features", helper.make_node("Tile", ["before", "often"], ["features"]), often=often)
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = int(often[1]) * made.WIDTH
    (here.folder / "odd.onnx").write_bytes(model.SerializeToString())
    folder_of_pieces(here.folder / "photos", count=3)
    here.call("rank", "photos", "-m", "odd.onnx", "-q").check(3, "odd.onnx: 1,048,578 values per image")


BOUNDED = """
import resource, sys
from pathlib import Path
import leepfrog, leepfrog.task2vec.embedding
from leepfrog.inference.header import fingerprint, read_header
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
content = memoryview(Path(sys.argv[1]).read_bytes())
try:
    read_header(content)
    fingerprint(content)
except leepfrog.errors.ModelError as error:
    print(error)
"""


@pytest.mark.full
@pytest.mark.parametrize("what", ["fields", "entries", "weights"])
def test_fault_34_what_a_header_takes_is_bounded_by_the_file(what: str, tmp_path: Path) -> None:
    """The file has 64 MB of the smallest possible fields."""
    whole = made.scoring().SerializeToString()
    n = 1 << 25
    more = {
        "fields": b"\x08\x08" * n,
        "entries": b"\x72\x03\x0a\x01" + b"k" + b"".join(b"\x72\x06\x0a\x04%04d" % i for i in range(MAX_ENTRIES + 2)),
        "weights": b"\x3a" + varint(2 * n) + b"\x2a\x00" * n,
    }
    path = tmp_path / "odd.onnx"
    path.write_bytes(whole + more[what])
    done = run(path, code=BOUNDED)
    assert done.err == ""
    assert done.out == "" if what == "weights" else done.out
    assert n > MAX_FIELDS


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def test_fault_34_opsets_are_bounded() -> None:
    model = made.scoring()
    model.opset_import.extend(helper.make_opsetid(f"d{i}", 1) for i in range(MAX_ENTRIES + 1))
    with pytest.raises(ModelError, match="metadata entries"):
        read_header(memoryview(model.SerializeToString()))


def embedding(path: Path, header: dict[str, Any] | None = None, **arrays: bytes) -> Path:
    """Write an embedding file with some header values or arrays replaced."""
    values = {
        "format_version": 1,
        "name": "task",
        "network": "0" * 64,
        "layers": [["w", "conv", 4]],
        "made": {"notes": []},
    }
    members = {"vector": npy(np.ones(4)), "standard_errors": npy(np.ones(4))}
    members["header"] = npy(np.array(json.dumps(values | (header or {}))))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | arrays).items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def declaring(shape: str) -> bytes:
    """Return an .npy file that declares the given shape but contains four numbers."""
    whole = npy(np.ones(4))
    return whole.replace(b"'shape': (4,), }" + b" " * (len(shape) - 4), b"'shape': %s, }" % shape.encode(), 1)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(10000000000,)", "(-1,)", "(4, 0)", "(True,)"])
def test_fault_34_arrays_hold_what_they_declare(shape: str, tmp_path: Path) -> None:
    """NumPy allocates the declared size before it reads the data."""
    assert Embedding.load(embedding(tmp_path / "good.npz")).vector.tolist() == [1, 1, 1, 1]
    with pytest.raises(EmbeddingError, match=r"task\.npz: is not a task embedding: "):
        Embedding.load(embedding(tmp_path / "task.npz", vector=declaring(shape)))


@pytest.mark.parametrize(
    "header",
    [
        {"layers": [["w", "conv", 10**12]]},
        {"layers": [["w", "conv", "4"]]},
        {"layers": [["w", "conv", 4.0]]},
        {"layers": [["x" * 5000, "conv", 4]]},
        {"layers": [["w", "conv", 1]] * 20_000},
        {"name": "x" * 5000},
        {"name": ""},
        {"network": 5},
        {"made": {"l2": float("nan")}},
        {"made": {"n_images": 10**30}},
        {"made": {"note": "x" * 100_000}},
    ],
    ids=lambda header: json.dumps(header)[:24],
)
def test_fault_07_embeddings_out_of_range(header: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"task\.npz: is not a task embedding: "):
        Embedding.load(embedding(tmp_path / "task.npz", header))


def test_fault_07_texts_of_embeddings_and_libraries_are_printable(home: Path, here: Here) -> None:
    odd = {"name": HOSTILE, "network": HOSTILE, "made": {"probe": HOSTILE, "notes": [HOSTILE], HOSTILE: 1}}
    loaded = Embedding.load(embedding(here.folder / "task.npz", odd))
    texts = [loaded.name, loaded.network, loaded.made["probe"], *loaded.made["notes"], *loaded.made]
    assert all(text.isprintable() for text in texts)
    library = Library(here.folder / "library")
    library.add(loaded, {"a model": 0.5})
    here.call("library", "list", "library", "--format", "json").check(0)
    (here.folder / "errors.csv").write_text("task,model,error\nt\x1b,m\x07,0.5\n")
    assert list(read_errors(here.folder / "errors.csv")) == [("t\\x1b", "m\\x07")]


# ---- names


@pytest.mark.full
def test_fault_35_two_models_of_one_name(home: Path, here: Here) -> None:
    """Each keeps its own license in the report, the result and the baseline, which `check` accepts."""
    (home / "models").mkdir(parents=True)
    for i, license in enumerate(("MIT", "proprietary")):
        model = made.scoring(name="twin", license=license)
        for tensor in model.graph.initializer:
            if i and tensor.name == "linear":
                tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32)[::-1]).tobytes()
        (home / "models" / f"file{i}.onnx").write_bytes(model.SerializeToString())
    folder_of_pieces(here.folder / "photos", count=3)
    here.call("rank", "photos", "-o", "base.json", "--report", "page.html").check(0)
    rows = json.loads((here.folder / "base.json").read_text())["models"]
    assert {row["name"]: row["license"] for row in rows} == {
        f"twin@{row['sha256'][:12]}": row["license"] for row in rows
    }
    assert {row["license"] for row in rows} == {"MIT", "proprietary"}
    page = (here.folder / "page.html").read_text()
    assert all(row["name"] in page for row in rows)
    here.call("check", "base.json", "photos").check(0)
    here.call("verify", "base.json", "photos").check(0)
    alone = leepfrog.rank(photo_set(3), [home / "models" / "file0.onnx"]).models[0]
    assert alone.name == "twin"
