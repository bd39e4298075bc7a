"""Advice as text: what each statement saves alone and all together, what to write instead, and what must stay, why.

Invariants: plain text. A saving below a millisecond, a fiftieth of the import, or what the import itself differed by
between rounds, is told as ~0: it is noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazyguard.audit.output.text import columns

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Advice, Deferral, Report

NOISE, NOISY_PART = 0.001, 0.02
NEEDLESS = "is loaded all the same"
MOST = 20
"""The most lines about what stays, those of the dearest modules."""


def advised(report: Report) -> str:
    """Returns the advice of a report as text; "" where there is none."""
    return "\n\n".join(_of(one) for one in report.advice)


def _of(one: Advice) -> str:
    defer = [each for each in one.imports if each.defer]
    stay = [each for each in one.imports if not each.defer]
    parts = [_head(one, len(defer))]
    if defer:
        rows = [["saves", "share", "import", "at"]]
        rows += [[_ms(each.saving, one), _share(each, one), each.statement, str(each.place)] for each in defer]
        parts += [columns(rows, [0, 1]), _replacements(defer)]
    told = [each for each in stay if not str(each.reason).endswith(NEEDLESS)]
    if told:
        rows = [["stays as it is", "at", "because"]]
        for each in told[:MOST]:
            where = f" ({each.because})" if each.because else ""
            rows.append([each.statement, str(each.place), f"{each.reason}{where}"])
        parts.append(columns(rows, []))
    left = [
        f"{len(told) - MOST} more that stay" if len(told) > MOST else "",
        f"{len(stay) - len(told)} whose modules are loaded all the same" if len(stay) > len(told) else "",
    ]
    if any(left):
        parts.append("and " + ", ".join(filter(None, left)) + ": --json has them")
    if one.ruff:
        parts.append("for ruff, in pyproject.toml:\n" + _indented(one.ruff))
    return "\n\n".join(parts)


def _head(one: Advice, count: int) -> str:
    if one.note and not one.rounds and not one.imports:
        return f"no advice for {one.target}: {one.note}"
    text = f"advice for {one.target}, whose import takes {one.seconds * 1000:.1f} ms"
    if one.saving is not None:
        part = one.saving / one.seconds if one.seconds else 0.0
        text += f": {count} to defer, which save {_ms(one.saving, one)} together ({part:.0%})"
    elif one.rounds:
        text += ": nothing to defer"
    return text + (f"\n{one.note}" if one.note else "")


def _replacements(defer: list[Deferral]) -> str:
    places: dict[str, list[str]] = {}
    for each in defer:
        if each.replacement is not None:
            places.setdefault(f"{each.file}\n{each.replacement}", []).append(str(each.line))
    texts: list[str] = []
    for key, lines in places.items():
        file, _, text = key.partition("\n")
        texts.append(f"{file}:{', '.join(lines)}, instead:\n{_indented(text)}")
    return "\n".join(texts)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _is_noise(saving: float, one: Advice) -> bool:
    return saving < max(NOISE, NOISY_PART * one.seconds, one.noise)


def _ms(saving: float | None, one: Advice) -> str:
    return "" if saving is None else "~0 ms" if _is_noise(saving, one) else f"{saving * 1000:.1f} ms"


def _share(each: Deferral, one: Advice) -> str:
    if each.share is None or each.saving is None or _is_noise(each.saving, one):
        return ""
    return f"{each.share:.0%}"
