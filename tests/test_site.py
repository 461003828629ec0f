"""The documentation site builds without a warning, notebooks executed; nothing in it is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def site(starters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy: generated pages do not go into the working tree."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"LEEPFROG_HOME": str(starters.parent)}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", folder / "cache"]
    done = subprocess.run(
        [*command, ROOT / "docs", folder / "html"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_notebooks_have_outputs(site: Path) -> None:
    for name in ("arrays", "images"):
        assert "output" in (site / "notebooks" / f"{name}.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(https?:[^\"]+)", page.read_text())
        assert loaded == [], page


def test_equations_are_understood(site: Path) -> None:
    """latex2mathml copies commands that it does not know."""
    for page in site.rglob("*.html"):
        assert not re.search(r"<m[a-z]+[^>]*>\\", page.read_text()), page
