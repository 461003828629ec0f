"""Wordings that CONTRIBUTING's section on writing rules out, as far as a machine can find them.

python tests/words.py [FILE]...      # all of the repository's text without arguments; exits with 1 for findings
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_UNIT = (
    r"(?:image|model|class|batch|core|cell|channel|device|file|fold|gigabyte|line|node|pass|pixel|row|run|score|set|shot"
    r"|split|stage|step|task|thread|weight|worker)"
)
PATTERNS = {
    rf"\b(?:an?|one|two|four|five|ten|\d+|images?|inference|ms|MB|s|kB) (?:a|an) {_UNIT}\b": "per",
    rf"\b(?:a|one) \w+ an? {_UNIT}(?=[,.;:)]|$)": "per",
    r"\bforetells?\b": "predict",
    r"\btold (?:apart|of|as|otherwise|by)\b": "separated, unless specified",
    r"\btells? (?:them |the \w+ |\d+ )?apart\b": "distinguish, separate",
    r"\blikewise\b": "the same, also",
    r"\banew\b": "again",
    r"\bthe more so\b": "especially",
    r"\bmends?\b|\bmended\b": "fix",
    r"\b(?:holds?|held) (?:it |them |each \w+ )?against\b": "compare with",
    r"\bput(?:s|ting)? out (?:its |the |`?features|`?probs|no )": "output, return",
    r"\bso many (?:images|of|models|layers|times|steps)\b": "this number of",
    r"\bat hand\b": "available",
    r"\bstands? (?:in|there|below|above|beside)\b": "is, means, replaces",
}
"""Regular expressions, and what to write instead."""

_CHECKED = (".py", ".md", ".j2", ".toml", ".yml", ".yaml")
# CONTRIBUTING lists the patterns.
_EXEMPT = ("tests/words.py", "tests/test_words.py", "CONTRIBUTING.md")


def findings(path: Path) -> Iterator[str]:
    """Lines of a file with a wording of PATTERNS, and what to write."""
    for number, line in _prose(path):
        for pattern, instead in PATTERNS.items():
            for found in re.finditer(pattern, line, re.IGNORECASE):
                yield f"{path}:{number}: {found[0]!r}; write: {instead}"


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of text by number: of Python, those of strings and comments alone."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


def checked_files() -> list[Path]:
    """Return the repository's files that hold prose; without git, as in a source distribution, all of the tree's."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    names = listed.stdout.split("\0")
    if listed.returncode:
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
    chosen = (ROOT / name for name in sorted(names) if name.endswith(_CHECKED) and name not in _EXEMPT)
    return [path for path in chosen if path.exists() and not {"_build", ".venv"} & set(path.parts)]


def main() -> int:
    """Print findings."""
    files = [Path(name) for name in sys.argv[1:] if not name.endswith(_EXEMPT)] or checked_files()
    lines = [line for path in files for line in findings(path)]
    print(*lines, sep="\n")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
