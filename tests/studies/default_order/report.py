"""Results as Markdown tables, which the study's README and the documentation show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from studies.default_order.judge import CEILING, DEFAULT, FIXED, read_csv

SIZES = ("50", "100", "300", "1000")
COMBINED = "combined (the old default)"

NAMES = {
    CEILING: "*ceiling: half of the truth judged by the other half*",
    DEFAULT: "**expected accuracy**",
    FIXED: "**expected accuracy, parameters as shipped**",
    COMBINED: "`combined`, the former default",
}

Row = Mapping[str, str]


def write_tables(results: Path) -> None:
    """Write the Markdown tables next to the CSV files."""
    tables = {
        "head": _order(read_csv(results / "head_order.csv")),
        "few-shot": _order(read_csv(results / "few-shot_order.csv")),
        "head_brief": _brief(
            read_csv(results / "head_order.csv"), (DEFAULT, COMBINED, "ridge", "knn", "logme", CEILING)
        ),
        "few-shot_brief": _brief(read_csv(results / "few-shot_order.csv"), (DEFAULT, COMBINED)),
        "whole_networks": _order(read_csv(results / "head_whole_networks.csv"), difference=False),
        "whole_networks_brief": _brief(
            read_csv(results / "head_whole_networks.csv"),
            (FIXED, "ridge", "ncti", "leep_loo", "leep", "baseline static"),
        ),
        "coverage": _coverage([*read_csv(results / "head_coverage.csv"), *read_csv(results / "few-shot_coverage.csv")]),
        "finetune": _finetune(read_csv(results / "finetune_whole_networks.csv")),
    }
    for name, text in tables.items():
        (results / f"{name}.md").write_text(text)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _by_candidate(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Return rows by candidate and size; the best at 300 images first, after the ceiling and the defaults."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row["candidate"], {})[row["images"]] = row
    first = [CEILING, DEFAULT, FIXED, COMBINED]

    def place(name: str) -> tuple[int, float]:
        middle = found[name].get("300") or next(iter(found[name].values()))
        return first.index(name) if name in first else len(first), -float(middle["weighted_tau"])

    return {name: found[name] for name in sorted(found, key=place)}


def _name(candidate: str) -> str:
    if candidate.startswith("baseline "):
        return f"*{candidate}*"
    return NAMES.get(candidate, candidate if ", " in candidate else f"`{candidate}`")


def _at_sizes(of_sizes: Mapping[str, Row], key: str, form: str, factor: float = 1.0) -> str:
    shown = [format(factor * float(of_sizes[n][key]), form) if n in of_sizes else "-" for n in SIZES]
    return " ".join(text.replace("0.", ".", 1) if form == ".2f" and "0." in text else text for text in shown)


def _order(rows: Sequence[Row], difference: bool = True) -> str:
    header = ["", "weighted tau", "points lost", "within a point of the best, %"]
    header += ["tau minus that of the former default, at 300"] if difference else []
    lines = []
    for name, of_sizes in _by_candidate(rows).items():
        line = [
            _name(name),
            _at_sizes(of_sizes, "weighted_tau", ".2f"),
            _at_sizes(of_sizes, "regret", ".1f"),
            _at_sizes(of_sizes, "within_a_point", ".0f", 100),
        ]
        if difference:
            at = of_sizes.get("300")
            line.append("" if at is None else _difference(at))
        lines.append(line)
    return _table(header, lines)


def _difference(row: Row) -> str:
    low, middle, high = (f"{float(row[key]):+.2f}" for key in ("tau_low", "tau_difference", "tau_high"))
    return f"{middle} ({low} to {high})"


def _brief(rows: Sequence[Row], candidates: Sequence[str]) -> str:
    by_candidate = _by_candidate(rows)
    lines = []
    for name in (each for each in candidates if each in by_candidate):
        cells = [by_candidate[name].get(n) for n in SIZES]
        lines.append(
            [_name(name)]
            + [
                "-" if row is None else f"{float(row['weighted_tau']):.2f} ({float(row['regret']):.1f})"
                for row in cells
            ]
        )
    return _table(("weighted tau (points lost)", *(f"{int(n):,} images" for n in SIZES)), lines)


def _coverage(rows: Sequence[Row]) -> str:
    lines = [
        [
            row["goal"],
            f"{int(row['images']):,}",
            *(f"{100 * float(row[key]):.0f}" for key in ("inside", "chosen")),
            *(f"{float(row[key]):.1f}" for key in ("promised", "lost")),
            f"{float(row['width']):.0f}",
        ]
        for row in rows
        if row["data"] == "mean"
    ]
    header = ("goal", "images", "inside, all models %", "inside, first model %", "expected loss", "loss", "mean width")
    return _table(header, lines)


def _finetune(rows: Sequence[Row]) -> str:
    by_candidate = _by_candidate(rows)
    lines = [
        [_name(name)] + [f"{float(row['weighted_tau']):.2f} ({float(row['regret']):.1f})" for row in of_sizes.values()]
        for name, of_sizes in by_candidate.items()
    ]
    sizes = list(dict.fromkeys(row["images"] for row in rows))
    return _table(("weighted tau (points lost)", *(f"{n} images" for n in sizes)), lines)
