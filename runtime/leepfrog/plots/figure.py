"""Figures as PNG, SVG or self-contained HTML files."""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leepfrog.errors import MachineError, UsageError
from leepfrog.unconfigured import import_unconfigured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".html", ".png", ".svg")

# The palette of Okabe and Ito, distinguishable with color blindness; yellow, faint on white, is darkened.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#b5a300")

SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # keep text as text: smaller, searchable, accessible
    "svg.hashsalt": "leepfrog",  # equal figures give equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_plot_path(path: Path, option: str = "-o") -> None:
    """Reject file names of unsupported formats before any work.

    Raises:
        UsageError: the extension is not in ENDINGS.
        MachineError: matplotlib is missing or refuses its settings.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{option} {path}: unsupported extension; expected {', '.join(ENDINGS)}")
    try:
        import_unconfigured("matplotlib")
    except ImportError:
        raise MachineError("plots need matplotlib: pip install matplotlib") from None


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Context manager that applies matplotlib's defaults and `SETTINGS` instead of the user's settings."""
    matplotlib: Any = import_unconfigured("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches; it needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def encoded(figure: Figure, ending: str, titles: Mapping[str, str] | None = None, below: str = "") -> bytes:
    """Return a figure as the content of a file.

    Args:
        figure: a figure made within `drawing`.
        ending: file extension, one of ENDINGS.
        titles: tooltips of artists, by gid; not available in PNG.
        below: escaped HTML that follows the figure in an HTML file.
    """
    stream = io.BytesIO()
    with drawing():
        if ending == ".png":
            figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
            return stream.getvalue()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue().decode("utf-8")
    for gid, title in (titles or {}).items():
        text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{html.escape(title)}</title>', 1)
    if ending == ".svg":
        return text.encode()
    # In HTML, only the <svg> element is embedded, without the XML declarations of a file.
    svg = text[text.index("<svg") :]
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"|( width| height)="[^"]*pt"', "", svg, count=2)
    return PAGE.format(svg=svg, below=below).encode()


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>leepfrog</title>
<style>
body {{
  font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 1rem;
  color: #222; background: #fff;
}}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }}
td.n, th.n {{ text-align: right; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #ddd; background: #181818; }}
  th, td {{ border-color: #444; }}
  svg {{ background: #fff; border-radius: 6px; }}
}}
</style>
</head>
<body>
{svg}
{below}
</body>
</html>
"""
