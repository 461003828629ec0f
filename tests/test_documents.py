"""The README and the documentation site: every command and every line of Python that they show is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import Here, run
from documents import PAGES, REASONS, ROOT, blocks, furnish, run_block
from leepfrog.scoring.registry import SCORES


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        assert block.reason in ("", *REASONS), f"{name_of(page)}:{block.line}: {block.reason}"


def test_every_score_is_explained() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "explanation").glob("scores-of-*.md"))
    assert [name for name in SCORES if not re.search(rf"^#+ {name}$", pages, re.MULTILINE)] == []


@pytest.mark.full
def test_generated_pages_are_up_to_date() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import _generate; from pathlib import Path; "
        "print([n for n, text in _generate.pages().items() "
        "if (Path(sys.argv[1]) / 'reference' / f'{n}.md').read_text() != text])"
    )
    done = run(ROOT / "docs", code=code)
    assert done.out.strip() == "[]", f"python docs/_generate.py: {done.out}{done.err}"


@pytest.mark.full
@pytest.mark.parametrize("page", [page for page in PAGES if any(not b.reason for b in blocks(page))], ids=name_of)
def test_what_a_page_shows_runs(page: Path, here: Here, home: Path) -> None:
    furnish(here.folder, home)
    names: dict[str, object] = {}
    for block in blocks(page):
        if not block.reason:
            run_block(block, here, names)
