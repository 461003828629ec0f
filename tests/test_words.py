"""The repository's prose avoids the wordings that CONTRIBUTING rules out."""

from __future__ import annotations

from pathlib import Path

import pytest
import words


@pytest.mark.parametrize("path", words.checked_files(), ids=lambda path: str(path.relative_to(words.ROOT)))
def test_no_ruled_out_wording(path: Path) -> None:
    assert list(words.findings(path)) == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("one inference a model and image", True),
        ("three times, likewise for others", True),
        ("one inference per model and image", False),
        ("as for a model", False),
    ],
)
def test_what_is_found(line: str, is_found: bool, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(line)
    (tmp_path / "code.py").write_text(f"value = 1  # {line}\n")
    for name in ("page.md", "code.py"):
        assert bool(list(words.findings(tmp_path / name))) == is_found
