"""rank --report: contents of the page, escaping of untrusted names, and no external resources."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import re
import sys
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from commands import Here
from hostile_ranking import CLASSES, NAMES, SOURCES, Page, Reported, shown
from leepfrog.errors import UsageError
from leepfrog.images.dataset import ArrayImage, FileImage, ImageSet
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.explain import explain
from leepfrog.ranking.racing import Dropped, Race
from leepfrog.ranking.result import RankedModel, Ranking, SkippedImage
from leepfrog.report import thumbnails as thumbs
from leepfrog.report.explanations import MOST_BEST, MOST_WORST, shown_explanations
from leepfrog.report.front import NARROW, WIDE, front
from leepfrog.report.page import check_report_path, render
from leepfrog.report.tables import ranking_rows
from PIL import Image

pytestmark = pytest.mark.full


def test_it_says_what_the_ranking_says(reported: Reported, report_text: str) -> None:
    page = Page(report_text)
    assert "24 images of 3 classes" in page.text
    for row in ranking_rows(reported.ranking):
        model = row.model
        for part in (row.score, row.interval, f"{model.probability_best:.2f}", row.latency, row.loss, model.sha256):
            assert part in page.text
        assert f"{1e3 * model.cost.latency_p95:.1f}" in page.text
        assert f"{model.scores['leep_loo'].value:.4f}" in page.text
    assert reported.ranking.receipt.environment["onnxruntime"] in page.text
    (explained,) = explain_best(reported)
    for explanation in explained.classes:
        assert f"{explanation.leep_loo:.3f}" in page.text
        assert f"{100 * explanation.carriers[0].share:.0f} %" in page.text
        for example in (*explanation.typical, *explanation.hard):
            assert any(image["alt"] == shown(Path(example.name).name) for image in page.all("img"))


def explain_best(reported: Reported) -> list[leepfrog.ranking.explain.Explanation]:
    best = next(model for model in reported.outputs if model.model.sha256 == reported.ranking[0].sha256)
    return [explain(reported.outputs.hashed.image_set, best.model.path)]


def test_names_of_strangers_are_text(reported: Reported, report_text: str) -> None:
    page = Page(report_text)
    assert len(page.all("script")) == 1  # our own script, which the policy allows by its hash
    assert not page.all("iframe", "object", "embed", "link", "base", "form", "b id")
    assert all(not key.startswith("on") for _, attributes in page.elements for key in attributes)
    for name in (*NAMES, *CLASSES):
        assert shown(name) in page.text
    assert sum(shown(source) in page.text for source in SOURCES) >= 3
    for hidden in ("\u202e", "\u2066", "\x1b"):
        assert hidden not in report_text
    assert "{{ 7*7 }}" in page.text  # names are not rendered as templates either


def test_it_needs_nothing_else(report_text: str) -> None:
    page = Page(report_text)
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "xlink:href", "action", "data", "poster", "background"):
            if key in attributes:
                expected = ("data:image/jpeg;base64,",) if tag == "img" else ("#",)
                assert attributes[key].startswith(expected), (tag, attributes)
        assert "style" not in attributes
    assert "url(" not in page.style
    assert "@import" not in page.style
    (policy,) = (element["content"] for element in page.all("meta") if "http-equiv" in element)
    assert {"default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"} <= set(policy.split("; "))
    assert len(report_text) < 400_000


def test_it_can_be_read_by_machines_that_read_aloud(report_text: str) -> None:
    page = Page(report_text)
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(tag)) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    assert any(element.get("name") == "viewport" for element in page.all("meta"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption")) >= 3
    assert {element.get("scope") for element in page.all("th")} == {"col", "row"}
    assert all(element["alt"] for element in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [element["href"][1:] for element in page.all("a")]
    named += [
        name
        for _, element in page.elements
        for name in (element.get("aria-labelledby", "") + " " + element.get("aria-describedby", "")).split()
    ]
    assert set(named) <= set(ids)
    assert page.all("a")[0] == {"class": "skip", "href": "#main"}
    plots = [element for element in page.all("svg") if "plot" in element.get("class", "")]
    assert len(plots) == 2
    assert all(element["aria-labelledby"] for element in plots)
    points = [element for element in page.all("a") if "point" in element.get("class", "")]
    assert len(points) == 2 * len(NAMES)
    assert all(" ms" in element["aria-label"] for element in points)


def luminance(color: str) -> float:
    """Return the WCAG relative luminance of a #rrggbb color."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_stand_out(report_text: str, mode: int) -> None:
    block = re.findall(r":root \{(.*?)\}", Page(report_text).style, re.DOTALL)[mode]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colors[one]), luminance(colors[other])))
        return (high + 0.05) / (low + 0.05)

    for name in ("fg", "muted", "link", "over"):
        for ground in ("bg", "panel", "target"):
            assert contrast(name, ground) >= 4.5, (name, ground)
    for ground in ("bg", "panel", "rail"):
        assert contrast("mark", ground) >= 3, ground  # for graphics; text needs 4.5
    assert set(re.findall(r"var\(--(\w+)\)", Page(report_text).style)) == colors.keys()


def many(ranking: Ranking, n: int, **changes: object) -> Ranking:
    """Return a ranking of n models, derived from the first model of `ranking`."""
    first = ranking.models[0]

    def model(i: int) -> RankedModel:
        cost = dataclasses.replace(first.cost, latency=1e-3 * 1.02**i)
        return dataclasses.replace(
            first, name=f"model number {i}", rank=i + 1, group=1 if i < 9 else 2, cost=cost, on_front=i < 20
        )

    return dataclasses.replace(ranking, models=tuple(map(model, range(n))), **changes)  # type: ignore[arg-type]


def test_many_classes_and_models_stay_usable(reported: Reported) -> None:
    (explained,) = explain_best(reported)
    classes = tuple(dataclasses.replace(explained.classes[0], name=f"class number {i};") for i in range(1000))
    big = shown_explanations([dataclasses.replace(explained, classes=classes)] * 3, reported.outputs.hashed.image_set)
    assert (len(big[0].worst), len(big[0].best), big[0].n_left_out) == (MOST_WORST, MOST_BEST, 975)
    skipped = tuple(SkippedImage(f"image {i}", "broken") for i in range(5000))
    receipt = reported.ranking.receipt
    assert receipt.data is not None
    ranking = many(
        reported.ranking,
        200,
        classes={f"class number {i};": 1 for i in range(1000)},
        receipt=dataclasses.replace(receipt, data=dataclasses.replace(receipt.data, skipped=skipped)),
    )
    text = render(ranking, big)
    page = Page(text)
    words = " ".join(page.text.split())
    assert "The 20 classes with the lowest LOO-LEEP and the 5 with the highest. The other 975 are" in words
    assert "class number 19;" in page.text
    assert "170 further models" in page.text
    assert "5000 images could not be used" in page.text
    assert "and 4800 more" in page.text
    assert "6 more tied" in page.text
    assert len(text) < 2_500_000
    for canvas in (WIDE, NARROW):
        labels = [point.label.text for point in front(ranking, canvas).points if point.label]
        assert len(labels) <= canvas.most_labels
        assert sum(not label.isdigit() for label in labels) == canvas.most_names


def test_budgets_races_and_variants_are_told(reported: Reported) -> None:
    first, second, third = reported.ranking.models
    models = (dataclasses.replace(first, outside=("latency", "size"), on_front=False), second, third)
    race = Race(
        4, 24, (12, 24), (Dropped("slowpoke", 12, "hare", 1.5, 0.25),), (("fat", ("size",)),), 84, 96, 3.0, 0.004
    )
    ranking = dataclasses.replace(reported.ranking, models=models, budget=Budget(latency=0.02, size=5e6), race=race)
    words = " ".join(Page(render(ranking)).text.split())
    assert "Budget: latency 20 ms, size 5 MB." in words
    assert f"{shown(second.name)}: " in words
    assert f"{shown(first.name)} comes first, but is over the budget (latency, size)." in words
    assert re.search(r"over latency\??, size", words)
    assert "slowpoke 12 hare 150.0 25.0 6.0" in words
    assert "Did not start: fat, over size." in words
    assert "Why" not in words  # no explanations were given
    nothing = dataclasses.replace(ranking, models=tuple(dataclasses.replace(m, outside=("size",)) for m in models))
    assert "no model is within the budget; the best of the others is " in " ".join(Page(render(nothing)).text.split())


def test_a_receipt_of_any_shape_is_shown(reported: Reported) -> None:
    deep: object = "the bottom"
    for _ in range(50):
        deep = {"deeper": [deep]}
    arguments = {
        "schema": 3, "ok": True, "nothing": None, "<b>": ["<i>", 1.5, {"sha256": "ab" * 32}], "empty": {}, "deep": deep,
        "long": "x" * 100_000, "numbers": list(range(1000)), "tuple": ("y", "z"),
    }  # fmt: skip
    receipt = dataclasses.replace(reported.ranking.receipt, arguments=arguments)
    text = render(dataclasses.replace(reported.ranking, receipt=receipt))
    page = Page(text)
    words = page.text.split()
    assert {"<b>", "<i>", "1.5", "ab" * 32, "yes", "y", "z"} <= set(words)
    assert "and 800 more" in " ".join(words)
    assert "the bottom" not in text
    assert "x" * 1001 not in text
    assert receipt.models[0].sha256 in text


@pytest.mark.parametrize("canvas", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_picture_is_to_scale(reported: Reported, canvas: object) -> None:
    assert canvas in (WIDE, NARROW)
    ranking = many(reported.ranking, 5, budget=Budget(latency=0.05))
    plot = front(ranking, canvas)  # type: ignore[arg-type]
    xs = [point.x for point in plot.points]
    assert np.allclose(np.diff(xs), np.diff(xs)[0], atol=0.2)  # latencies grow by a constant factor
    assert all(point.high < point.y < point.low for point in plot.points)
    assert plot.budget is not None
    assert plot.budget > max(xs)
    assert len(plot.x_ticks) >= 2
    assert len(plot.y_ticks) >= 2
    for tick in plot.y_ticks:
        assert plot.canvas.top <= tick.at <= plot.canvas.height - plot.canvas.bottom
    # The axis is correct: a tick and a model of the same latency have the same position.
    slope = (plot.x_ticks[-1].at - plot.x_ticks[0].at) / np.log(
        float(plot.x_ticks[-1].text) / float(plot.x_ticks[0].text)
    )
    expected = plot.x_ticks[0].at + slope * np.log(1e3 * ranking.models[0].cost.latency / float(plot.x_ticks[0].text))
    assert xs[0] == pytest.approx(expected, abs=0.3)
    alone = dataclasses.replace(ranking, models=ranking.models[:1], budget=Budget())
    assert len(front(alone, canvas).x_ticks) >= 2  # type: ignore[arg-type]


def pixels(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnails_are_what_the_models_saw_and_no_more(tmp_path: Path) -> None:
    whole = Image.new("RGB", (3000, 1500), (0, 0, 255))
    whole.paste((255, 0, 0), (0, 0, 1500, 1500))  # the left half; the EXIF orientation turns it to the top
    exif = whole.getexif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    whole.save(tmp_path / "turned.jpg", exif=exif, comment=b"my garden")
    Image.new("CMYK", (50, 50), (0, 255, 255, 0)).save(tmp_path / "ink.jpg")
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (1, 5000), 128).save(tmp_path / "thin.png")
    names = ["turned.jpg", "ink.jpg", "clear.png", "thin.png", "gone.jpg"]
    images = ImageSet("x", ("a", "b"), [FileImage(str(tmp_path / name)) for name in names], np.zeros(5, np.int64))
    uris = thumbs.thumbnails(images, [0, 1, 2, 3, 4])
    assert uris[4] is None
    turned, ink, clear, thin = map(pixels, uris[:4])
    assert turned.size == (48, 96)
    assert turned.getpixel((24, 10))[0] > 200  # type: ignore[index]
    assert turned.getpixel((24, 86))[2] > 200  # type: ignore[index]
    assert ink.mode == clear.mode == "RGB"
    assert ink.getpixel((25, 25))[0] > 200  # type: ignore[index]
    assert min(clear.getpixel((25, 25))) > 250  # type: ignore[type-var, arg-type]
    assert thin.size == (1, 96)
    for image in (turned, ink, clear, thin):
        assert not image.getexif()
        assert "comment" not in image.info


def test_thumbnails_stop_at_their_limit() -> None:
    rng = np.random.default_rng(0)
    arrays = [ArrayImage(str(i), rng.integers(0, 255, (96, 96, 3)).astype(np.uint8)) for i in range(10)]
    images = ImageSet("x", ("a", "b"), arrays, np.zeros(10, np.int64))
    one = len(thumbs.thumbnails(images, [0])[0] or "")
    uris = thumbs.thumbnails(images, [*range(10), *range(10)], most_bytes=5 * one + 100)
    assert 3 <= sum(uri is not None for uri in uris) <= 5
    assert sum(len(uri or "") for uri in uris) <= 5 * one + 100
    assert uris[-1] is None


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    check_report_path(tmp_path / "page.HTML")
    with pytest.raises(UsageError, match=r"--report page.pdf: unsupported extension; expected .html or .htm"):
        check_report_path(Path("page.pdf"))


def test_the_command_writes_it(reported: Reported, home: Path, here: Here) -> None:
    target = here.folder / "page.html"
    done = here.call(
        "rank",
        reported.outputs.hashed.image_set.name,
        "-m",
        reported.outputs.models[0].model.path.parent,
        "--report",
        target,
    )
    done.check(0)
    assert f"wrote {target}" in done.err
    assert shown(reported.ranking.models[0].name) in Page(target.read_text()).text


def test_jinja_is_missed_before_any_work(home: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.call("rank", "nowhere", "--report", "page.pdf").check(2)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    missing = here.call("rank", "nowhere", "--report", "page.html")
    assert missing.code == 4
    assert missing.err == "leepfrog: error: a report needs Jinja2: pip install jinja2\n"
