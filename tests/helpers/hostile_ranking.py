"""Shared by tests of reports: a real ranking whose names are all hostile, and a strict HTML parser."""

from __future__ import annotations

import csv
import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import leepfrog
import models_made as made
from leepfrog.execution.outputs import Outputs
from leepfrog.files import printable
from leepfrog.images.find import find_images
from leepfrog.ranking.rank import ranked_outputs
from leepfrog.ranking.result import Ranking
from photos import pieces
from PIL import Image

SCRIPT = "</title></style><script>document.title='run'</script>"
HANDLER = "\"'><img src=x onerror=\"document.title='run'\">"
TURNED = "\u202emodel\u2066 {{ 7*7 }} {% raw %}\nline\x1b[31m"
NAMES = (f"one{SCRIPT}", f"two{HANDLER}", f"three{TURNED}")
CLASSES = (f"cat{SCRIPT}", f"coffee{HANDLER}", f"rocket{TURNED}")
SOURCES = tuple(f"source {i}{(SCRIPT, HANDLER, TURNED)[i % 3]}" for i in range(made.CLASSES))
VOID = {"meta", "img", "wbr", "br", "input", "link"}


@dataclasses.dataclass
class Reported:
    """Ranking with hostile names, and the model outputs that it was computed from."""

    ranking: Ranking
    outputs: Outputs


def rank_hostile(folder: Path) -> Reported:
    """Rank three small models on 24 images of three classes; all names are hostile."""
    models, photos = folder / "models", folder / "photos <b>"
    models.mkdir()
    photos.mkdir()
    for i, name in enumerate(NAMES):
        model = made.scoring(name=name, source=f"onnx:{HANDLER}", license=SCRIPT, labels=SOURCES)
        for tensor in model.graph.initializer:  # otherwise all models would be identical
            values = made.numpy_helper.to_array(tensor) * (1 + 0.7 * i)
            tensor.CopyFrom(made.numpy_helper.from_array(values, tensor.name))
        (models / f"{i}.onnx").write_bytes(model.SerializeToString())
    rows = []
    for subject, label in zip(("cat", "coffee", "rocket"), CLASSES, strict=True):
        for i, piece in enumerate(pieces(subject, 8)):
            file = f"{subject} {i} \"><img src=x onerror=document.title='run'>.jpg"
            Image.fromarray(piece).save(photos / file, quality=90)
            rows.append((file, label))
    with open(photos / "labels.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("file_name", "label"), *rows])
    images = find_images(photos / "labels.csv")
    return Reported(*ranked_outputs(leepfrog.RankRequest(), images, [models], leepfrog.RunContext()))


def shown(text: str) -> str:
    """Return untrusted text as a page shows it."""
    return printable(text)


class Page(HTMLParser):
    """Elements and text of a page; fails unless tags are properly nested and closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.style = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed elements: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> does not match the open element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str]]:
        """Return the attributes of all elements with these tags."""
        return [attributes for tag, attributes in self.elements if tag in tags]
