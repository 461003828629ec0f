"""Draw the pictures in docs/images: a ranking on a terminal, and its report in a browser.

leepfrog demo            # exports the models, unpacks the images
python docs/pictures.py  # needs Chromium
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from leepfrog import paths
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS = 118
COMMAND = ["leepfrog", "rank", "mnist-1000"]


def on_a_terminal(command: list[str], folder: Path) -> str:
    """Return what a command prints on a terminal of COLUMNS columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, COLUMNS))
    environment = os.environ | {"TERM": "xterm-256color", "NO_COLOR": ""}
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL, env=environment):
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""


def main() -> None:
    """Draw both pictures."""
    IMAGES.mkdir(exist_ok=True)
    folder = paths.data()
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text(f"$ {' '.join(COMMAND)}", style="bold"))
    console.print(Text.from_ansi(on_a_terminal(COMMAND, folder)))
    svg = console.export_svg(title="leepfrog", theme=MONOKAI)
    # No fonts from other servers.
    (IMAGES / "terminal.svg").write_text(re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium: the picture of the report was not drawn")
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.html"
        subprocess.run([*COMMAND, "--report", report, "-q", "-o", Path(work) / "r.json"], cwd=folder, check=True)
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1500"]
        picture = f"--screenshot={IMAGES / 'report.png'}"
        subprocess.run([browser, *options, picture, report.as_uri()], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
