"""The report in headless Chromium: scripts, network, phone layout, dark mode, keyboard and accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import leepfrog.report.page
import numpy as np
import pytest
from browser import Browser
from hostile_ranking import NAMES, Reported, shown
from leepfrog_exporter import wheel
from leepfrog_exporter.zoo import WheelFile
from PIL import Image

pytestmark = pytest.mark.full

SORT = (Path(leepfrog.report.page.__file__).parent / "templates" / "sort.js").read_text().rstrip("\n")
# The accessibility checker axe-core, from a wheel that bundles it.
AXE = WheelFile(
    wheel="axe-playwright-python==0.1.8",
    member="axe_playwright_python/axe.min.js",
    bytes=572600,
    sha256="84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc",
)
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(report_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_text, encoding="utf-8")
    return path


@pytest.mark.parametrize("without_policy", [False, True])
def test_no_other_script_runs_and_nothing_is_loaded(
    browser: Browser, page: Path, reported: Reported, without_policy: bool
) -> None:
    """Names are escaped, so no injected script runs even without the page's content security policy."""
    browser.send("Page.setBypassCSP", enabled=without_policy)
    browser.requests.clear()
    browser.open(page)
    title = browser.evaluate("document.title")
    assert title.startswith(shown(reported.ranking.models[0].name))
    assert browser.evaluate("[...document.scripts].map(each => each.textContent)") == [SORT]
    strange = "[...document.images].filter(each => !each.src.startsWith('data:image/jpeg')).length"
    assert browser.evaluate(strange) == 0
    assert browser.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    seen = browser.evaluate("document.body.innerText")
    assert all(shown(name) in seen for name in NAMES)
    assert {url.split(":")[0] for url in browser.requests} == {"file", "data"}
    assert sum(url.startswith("file:") for url in browser.requests) == 1
    browser.send("Page.setBypassCSP", enabled=False)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(browser: Browser, page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    browser.open(page, width, 800, dark=dark)
    browser.screenshot(tmp_path / "page.png", whole=False)
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert pixels.shape == (800, width)
    assert (np.median(pixels) < 64) == dark
    for opened in (False, True):
        browser.evaluate(f"document.querySelectorAll('details').forEach(each => each.open = {str(opened).lower()})")
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        # Only the contents of scrollable containers may extend beyond the right edge.
        outside = """[...document.body.querySelectorAll('*')].filter(each =>
            each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('.scroll')
            && each.checkVisibility()).map(each => each.outerHTML.slice(0, 200))"""
        assert browser.evaluate(outside) == []


def test_text_is_large_enough_on_a_phone(browser: Browser, page: Path) -> None:
    browser.open(page, 360, 800)
    shown_plots = "[...document.querySelectorAll('.plot')].filter(each => each.checkVisibility())"
    assert browser.evaluate(f"{shown_plots}.map(each => each.getAttribute('class'))") == ["plot narrow"]
    scale = browser.evaluate(f"{shown_plots}[0].getBoundingClientRect().width / {shown_plots}[0].viewBox.baseVal.width")
    assert 13 * scale >= 12
    smallest = """Math.min(...[...document.body.querySelectorAll('p, td, th, li, figcaption, summary, dd, dt')]
        .map(each => parseFloat(getComputedStyle(each).fontSize)))"""
    assert browser.evaluate(smallest) >= 12
    # Touch targets.
    assert browser.evaluate("Math.min(...[...document.querySelectorAll('summary')].map(e => e.offsetHeight))") >= 24


def test_the_keyboard_reaches_everything(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    browser.press(*TAB)
    assert browser.evaluate(f"{FOCUSED}.className") == "skip"
    assert browser.evaluate(f"{FOCUSED}.getBoundingClientRect().top") >= 0  # now visible
    browser.press(*ENTER)
    assert browser.evaluate("location.hash") == "#main"
    reached: list[str] = []
    opened = False
    for _ in range(200):
        browser.press(*TAB)
        kind = browser.evaluate(f"`${{{FOCUSED}.tagName.toLowerCase()}} ${{{FOCUSED}.getAttribute('class') ?? ''}}`")
        if kind.startswith("body"):
            break
        reached.append(kind.strip())
        assert browser.evaluate(f"getComputedStyle({FOCUSED}).outlineStyle") == "solid"
        if kind.startswith("summary") and not opened:
            browser.press(*ENTER)
            opened = bool(browser.evaluate(f"{FOCUSED}.parentElement.open"))
        if kind.startswith("a point"):
            tip = f"getComputedStyle({FOCUSED}.querySelector('.tip')).visibility"
            assert browser.evaluate(tip) == "visible"
            assert browser.evaluate("[...document.querySelectorAll('.wide .tip')].filter("
                                    "each => getComputedStyle(each).visibility == 'visible').length") == 1  # fmt: skip
    assert opened
    assert sum(kind.startswith("a point") for kind in reached) == len(NAMES)  # only points of the visible plot
    assert sum(kind == "summary" for kind in reached) == browser.evaluate(
        "[...document.querySelectorAll('summary')].filter(each => each.checkVisibility()).length"
    )
    assert "div scroll" in reached


def test_a_point_leads_to_its_row(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    browser.evaluate("document.querySelector('.wide .point').focus()")
    browser.press(*ENTER)
    assert browser.evaluate("location.hash") == "#model-1"
    assert browser.evaluate("document.querySelector('tr:target').id") == "model-1"


def test_names_are_said_to_those_who_hear(browser: Browser, page: Path, reported: Reported) -> None:
    browser.open(page, 1280, 800)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    announced = {(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes}
    roles = {role for role, _ in announced}
    assert {"banner", "main", "navigation", "contentinfo", "table", "columnheader", "rowheader", "region"} <= roles
    points = [name for role, name in announced if role == "link" and name.endswith("on the front")]
    assert any(name.startswith(shown(reported.ranking.models[0].name)[:20]) for name in points)
    assert ("group", "Score against latency") in announced
    pictures = [name for role, name in announced if role == "image"]
    assert pictures
    assert all(name for name in pictures)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_violation(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, 800, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.evaluate(wheel.fetch(AXE).read_text(encoding="utf-8") + "; null")
    found = "found.map(each => [each.id, each.nodes.slice(0, 3).map(node => node.html.slice(0, 200))])"
    assert browser.evaluate(f"axe.run().then(({{violations: found}}) => {found})") == []


def test_a_click_on_a_heading_sorts_the_table(browser: Browser, page: Path) -> None:
    browser.open(page)
    column = "[...document.querySelectorAll('.ranking tbody tr')].map(each => each.cells[{}].innerText)"
    models = browser.evaluate(column.format(1))
    button = "[...document.querySelectorAll('.ranking thead button')].find(each => each.innerText == 'P(best)')"
    browser.evaluate(f"{button}.click()")
    chances = list(map(float, browser.evaluate(column.format(3))))
    assert chances == sorted(chances, reverse=True)
    browser.evaluate(f"{button}.click()")
    chances = list(map(float, browser.evaluate(column.format(3))))
    assert chances == sorted(chances)
    assert sorted(browser.evaluate(column.format(1))) == sorted(models)
    assert browser.evaluate(f"{button}.closest('th').getAttribute('aria-sort')") == "ascending"


def test_without_scripts_all_is_there(browser: Browser, page: Path) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate("document.querySelectorAll('button').length") == 0
    assert browser.evaluate("document.querySelectorAll('.ranking tbody tr').length") > 1
