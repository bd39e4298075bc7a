"""The tables and the plot of docs/benchmarks.md, from what the suites have written and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOT = DOCS / "benchmarks.md", DOCS / "benchmarks.svg"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->"


def shown(value: float) -> str:
    """Return a figure with as many digits as tell something."""
    if value == float("inf"):
        return "never"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def tables(reports: list[dict[str, Any]]) -> str:
    """Return one table for each thing measured, a column for each Python."""
    order: dict[str, dict[str, None]] = {}
    for report in reports:
        for row in report["rows"]:
            order.setdefault(row["table"], {}).setdefault(row["name"])
    lines = ["## Figures", ""]
    for report in reports:
        peers = ", ".join(f"{name} {version}" for name, version in report["peers"].items())
        lines += [f"- CPython {report['python']}, {report['machine']}: lazyguard {report['lazyguard']}, {peers}"]
    for table, names in order.items():
        found = [{row["name"]: row for row in report["rows"] if row["table"] == table} for report in reports]
        unit = next(row["unit"] for rows in found for row in rows.values())
        base = next((row["base"] for rows in found for row in rows.values()), "")
        lines += ["", f"### {table[0].upper()}{table[1:]}", ""]
        lines += [
            f"| {unit}{', and times the first row' if base else ''} | "
            + " | ".join(r["python"] for r in reports)
            + " |"
        ]
        lines += ["|---|" + "---|" * len(reports)]
        for name in names:
            cells = []
            for rows in found:
                row = rows.get(name)
                told = "-" if row is None else shown(row["value"])
                if row is not None and base and base in rows and name != base:
                    told += f" ({shown(row['value'] / rows[base]['value'])}x)"
                cells.append(told)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(report: dict[str, Any]) -> None:
    """Draw the ratios of the proxies and of the guarded call, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "lazyguard", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    wanted = ["an instance attribute", "a method without arguments", "+ on an int", "a call that succeeds"]
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 6.5), layout="constrained")
    for title, axis in zip(wanted, axes.flat, strict=True):
        rows = {row["name"]: row for row in report["rows"] if row["table"] == title}
        base = next(iter(rows.values()))["base"]
        ratios = sorted(((row["value"] / rows[base]["value"], name) for name, row in rows.items()), reverse=True)
        colours = ["#2a7ab9" if "lazyguard" in name else "#b0b0b0" for _, name in ratios]
        axis.barh([name for _, name in ratios], [ratio for ratio, _ in ratios], color=colours)
        axis.set_xscale("log")
        axis.set_title(f"{title}: times {base}")
        for place, (ratio, _) in enumerate(ratios):
            axis.text(ratio, place, f" {shown(ratio)}x", va="center")
        axis.margins(x=0.15)
    figure.suptitle(f"CPython {report['python']}; lazyguard in blue; the shorter the better")
    figure.savefig(PLOT, metadata={"Date": None})


def write(files: list[Path]) -> None:
    """Put the figures of these files into the page, and draw the plot of the first."""
    reports = [json.loads(file.read_text()) for file in files]
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}{tables(reports)}\n{END}{tail}", encoding="utf-8")
    plot(reports[0])
