"""A report as annotations of a GitHub workflow, and as the summary of its step.

Invariants: one annotation a cause, and at most ten of a level, which is what GitHub shows of a step. The last one
counts what is left out. Files are named from the root of the repository, and not at all where they lie outside of it.
Text is escaped as workflow commands demand, so that no module can write a command of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lazyguard.audit.report.sentences import by, by_line, excesses, several

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import Place

# Annotations of a level that GitHub shows of one step.
SHOWN = 10
ROWS = 100
LEVELS = {"slow": "warning", "leaves-children": "warning", "not-installed": "notice", "other-platform": "notice"}

Annotation = tuple[str, str, "Place | None", str]


def commands(report: Report, environment: Mapping[str, str]) -> str:
    """Return the lines to print, `::error file=core/tasks.py,line=12,title=...::...`, each with its end."""
    root = environment.get("GITHUB_WORKSPACE") or os.getcwd()
    lines: list[str] = []
    every = causes(report)
    for level in ("error", "warning", "notice"):
        these = [each for each in every if each[0] == level]
        left = len(these) - SHOWN
        for at, (_, title, place, message) in enumerate(these[:SHOWN]):
            if left > 0 and at == SHOWN - 1:
                message += f"\n({left} more of this level are in the summary of the step)"
            where = {"file": _from_root(place, report, root), "line": place and place.line, "title": title}
            if where["file"] is None:
                where["line"] = None
                message = f"{place}: {message}" if place else message
            options = ",".join(f"{key}={_property(str(value))}" for key, value in where.items() if value is not None)
            lines.append(f"::{level} {options}::{_data(message)}\n")
    return "".join(lines)


def causes(report: Report) -> list[Annotation]:
    """Return level, title, place and message of each cause, of each budget exceeded, and of each finding."""
    found: list[Annotation] = []
    for cause in report.causes:
        lines = [str(cause.error), cause.error.hint or ""] if cause.error else []
        lines += [*by(report.chain_to(cause)), "in " + several(cause.modules)]
        found.append((LEVELS.get(cause.verdict, "error"), cause.text, cause.place, "\n".join(filter(None, lines))))
    groups: dict[tuple[str, Place | None], list[str]] = {}
    for one in excesses(report):
        title = "slower import" if one.kind == "slower" else f"budget of {one.kind} exceeded"
        groups.setdefault((title, one.place), []).append(one.sentence)
    found += [("error", title, place, "\n".join(lines)) for (title, place), lines in groups.items()]
    for each, names in by_line(report):
        if each.kind != "forbidden":  # it is reported as a budget
            text = f"{each.detail}\nin {several(names)}"
            found.append(("notice", f"{each.kind} while importing", each.place, text))
    return found


def summary(report: Report) -> str:
    """Return the step's summary in Markdown."""
    text = f"### Audit of imports\n\n{report.verdicts}; Python {report.python or '?'}\n\n"
    rows = [(level, title, str(place or ""), message) for level, title, place, message in causes(report)]
    text += _rows(("level", "what", "where", "why"), rows)
    slowest = sorted(report.modules, key=lambda module: module.seconds, reverse=True)[:10]
    text += "The slowest\n\n" + _rows(
        ("module", "seconds", "modules executed"),
        [(module.module, f"{module.seconds:.3f}", str(module.executed)) for module in slowest],
    )
    if report.pending:
        text += f"Interrupted; {len(report.pending)} modules were not audited.\n\n"
    return text


def publish(report: Report, environment: Mapping[str, str]) -> str:
    """Append the summary to $GITHUB_STEP_SUMMARY, where there is one, and return the commands to print.

    Raises:
        OSError: the summary cannot be written.
    """
    file = environment.get("GITHUB_STEP_SUMMARY")
    if file:
        with open(file, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(summary(report))
    return commands(report, environment)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    first, *lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in (head, *rows[:ROWS])]
    left = len(rows) - ROWS
    return "\n".join([first, "|" + "---|" * len(head), *lines]) + "\n\n" + (f"and {left} more\n\n" if left > 0 else "")


def _cell(text: str) -> str:
    text = text[:1000].replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\r", "")
    return text.replace("\n", "<br>")


def _from_root(place: Place | None, report: Report, root: str) -> str | None:
    root = os.path.realpath(root)
    for _, file in report.on_disk(place.file) if place is not None else ():
        if os.path.commonpath([file, root]) == root:
            return os.path.relpath(file, root).replace(os.sep, "/")
    return None


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
