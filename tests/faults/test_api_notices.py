"""Notices in the Python API: logged as warnings (by default to stderr) and included in the result (fault 15)."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import leepfrog
import pytest
from commands import Here
from leepfrog.receipts.receipt import Receipt
from photos import folder_of_pieces

pytestmark = pytest.mark.full

CALLS: dict[str, Callable[[Path], Iterable[str]]] = {
    "rank": lambda data: leepfrog.rank(data, ["made"]).receipt.notices,
    "embed": lambda data: leepfrog.embed(data, "made").made["receipt"]["notices"],
    "validate": lambda data: leepfrog.validate(data, ["made", "twin"], scores=["leep"]).receipt.notices,
    "study_tasks": lambda data: leepfrog.study_tasks(data, "made", 3).receipt.notices,
    "explain": lambda data: [note for note in leepfrog.explain(data, "made").notes if "cache" in note],
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=8)


def blocked(home: Path) -> str:
    """Make the cache unwritable. Unlike permissions, a file in place of the folder also stops root."""
    shutil.rmtree(home / "inference", ignore_errors=True)
    (home / "inference").write_text("a file where the folder should be")
    return "not cached"


def damaged(home: Path) -> str:
    for path in (home / "inference").glob("*/*"):
        path.write_bytes(path.read_bytes()[:-100])
    return "is damaged"


@pytest.mark.parametrize("damage", [blocked, damaged])
@pytest.mark.parametrize("call", CALLS)
def test_fault_15_notices_are_warnings_and_in_the_result(
    call: str,
    damage: Callable[[Path], str],
    with_made: Path,
    photos: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if call == "validate":
        content = (with_made / "models" / "made.onnx").read_bytes()
        (with_made / "models" / "twin.onnx").write_bytes(content.replace(b"made", b"twin"))
    assert list(CALLS[call](photos)) == caplog.messages == []
    word = damage(with_made)
    assert list(CALLS[call](photos)) == caplog.messages
    assert [text for text in caplog.messages if word in text]


SCRIPT = """
import json, logging, sys
import leepfrog
notices = leepfrog.rank(sys.argv[1], ["made"]).receipt.notices
for name, level in {None: logging.WARNING, "leepfrog": logging.NOTSET}.items():
    assert not logging.getLogger(name).handlers and logging.getLogger(name).level == level
print(json.dumps(notices))
"""


def test_fault_15_notices_appear_on_stderr_by_default(with_made: Path, photos: Path) -> None:
    blocked(with_made)
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(photos)]
    environment = {**os.environ, "LEEPFROG_HOME": str(with_made)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == json.loads(done.stdout)
    assert "outputs of made are not cached" in done.stderr  # a second notice is about the cost, unless it is uncertain


def test_fault_15_programs_decide_what_becomes_of_warnings(
    with_made: Path, photos: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked(with_made)
    with caplog.at_level(logging.WARNING, "leepfrog"):
        ranking = leepfrog.rank(photos, ["made"])
    assert [record.getMessage() for record in caplog.records] == list(ranking.receipt.notices) != []
    assert {(record.name, record.levelname) for record in caplog.records} == {("leepfrog", "WARNING")}
    logging.getLogger("leepfrog").setLevel(logging.ERROR)
    try:
        caplog.clear()
        leepfrog.rank(photos, ["made"])
        assert not caplog.records
    finally:
        logging.getLogger("leepfrog").setLevel(logging.NOTSET)
    assert Receipt.from_dict(ranking.receipt.as_dict()) == ranking.receipt
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("command", ["rank {} -m made", "explain {} -m made", "validate {} --tasks 3 -m made"])
def test_fault_15_the_command_line_prints_each_notice_once(
    command: str, with_made: Path, photos: Path, here: Here
) -> None:
    blocked(with_made)
    done = here.call(*command.format(photos).split())
    done.check(0, "not cached")
    assert len([line for line in done.err.splitlines() if "not cached" in line]) == 1, done.err
    assert here.call(*command.format(photos).split(), "--quiet").err == ""


def test_fault_15_a_report_shows_notices(with_made: Path, photos: Path) -> None:
    from leepfrog.ranking.rank import ranked_outputs
    from leepfrog.report.page import report_html

    blocked(with_made)
    page = report_html(*ranked_outputs(leepfrog.RankRequest(), photos, ["made"], leepfrog.RunContext()))
    assert "outputs of made are not cached" in page


def test_fault_15_older_receipts_are_read(with_made: Path, photos: Path) -> None:
    values = leepfrog.rank(photos, ["made"]).receipt.as_dict()
    del values["notices"]
    assert Receipt.from_dict(values).notices == ()
    with pytest.raises(leepfrog.UsageError, match=r"receipt\.notices\[0\] is 1"):
        Receipt.from_dict({**values, "notices": [1]})
