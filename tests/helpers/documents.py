"""Code blocks of the README and the documentation site, and the folder that they are run in."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import models_made as made
import numpy as np
from commands import Here
from leepfrog.inference.model import ModelFile
from leepfrog_exporter.gradient.probe import export_probe
from photos import folder_of_pieces

ROOT = Path(__file__).parents[2]
GENERATED = ("cli.md", "schema.md", "scores-table.md", "scores-functions.md")
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts and p.name not in GENERATED),
]

REASONS = ("installs packages", "needs a model hub", "needs a GPU", "takes minutes", "another machine")
"""Why a block is not run here."""

_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]*?) -->\n)?```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLASSES = ("cat", "china", "coffee", "rocket")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of shell commands or Python in a page.

    Attributes:
        language: "sh" or "python".
        text: its content.
        reason: why it is not run; "" if it is run.
        line: line of the page where it begins.
    """

    language: str
    text: str
    reason: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without comments."""
        return [words for line in self.text.splitlines() if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    """The shell and Python blocks of a page."""
    text = page.read_text()
    return [
        Block(found[2], found[3], found[1] or "", text[: found.start()].count("\n") + 1)
        for found in _BLOCK.finditer(text)
    ]


def of_transformers(folder: Path) -> None:
    """Write a folder as Optimum does."""
    folder.mkdir()
    shape = ("batch_size", "num_channels", "height", "width")
    made.classifier(shape=shape, names=("pixel_values", "deep", "logits")).save(folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    processor = {"size": {"height": made.SIDE, "width": made.SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def furnish(folder: Path, home: Path) -> None:
    """Make what the pages' commands read: images, arrays, an ONNX file, two exported models."""
    (home / "models").mkdir(parents=True)
    for name, license in {"mobilenet_v2": "", "efficientnet_lite0": "x" * 1000}.items():  # of different sizes
        path = home / "models" / f"{name}.onnx"
        path.write_bytes(made.scoring(name=name, source=f"zoo:{name}", license=license).SerializeToString())
        export_probe(ModelFile.read(path))
    for name in ("PHOTOS", "OTHERS", "CALIBRATION"):
        folder_of_pieces(folder / name, count=12, names=CLASSES)
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted((folder / "PHOTOS").rglob("*.*"))]
    (folder / "labels.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    arrays = {"labels": labels, "probs": rng.dirichlet(np.ones(5), 60), "p": rng.dirichlet(np.ones(5), 60)}
    arrays |= {name: rng.standard_normal((60, 8)) + labels[:, None] for name in ("features", "a", "b")}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    made.classifier().save(folder / "my_model.onnx")
    of_transformers(folder / "my-vit")
    (folder / "my_classes.txt").write_text("".join(f"class {i}\n" for i in range(made.CLASSES)))


def run_block(block: Block, here: Here, names: dict[str, Any]) -> None:
    """Run a block as a user would, its commands one after the other; Python shares the names of the page."""
    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block.text, f"line {block.line}", "exec"), names)  # noqa: S102
        return
    for program, *words in block.commands:
        assert program == "leepfrog", f"line {block.line}: {program} is not run here; say why before the block"
        done = here.call(*words)
        assert done.code in (0, 1) if words[:1] == ["check"] else done.code == 0, (block.line, words, done)
