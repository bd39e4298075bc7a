"""Advice as text: what to write in place of a statement, the settings of ruff that keep it so, and all of it printed.

Invariants: plain text, and a suggestion: nothing is written. From Python 3.15 on the language has a statement for it
(PEP 810), which may not stand in a `try`, a `with`, a function or a class; before, lazyguard has. In ruff's lists a
name stands for all that is below it, and none is listed that would find fault with a statement that must stay. TID253
(before Python 3.15) forbids an import at module level, but not in a `with`. TID254 requires `lazy`, or forbids it, and
TID255 finds a lazy import that is used at once; both from Python 3.15 on, in ruff 0.17. A saving below a millisecond, a
fiftieth of the import, or the difference between rounds of the import as it is, is noise, and shown as ~0.
"""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from lazyguard.audit.output.text import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lazyguard.audit.report.model import Advice, Deferral, Report

    Statement = Mapping[str, Any]

NATIVE = (3, 15)
RULES = "lint.flake8-tidy-imports"
NOISE, NOISY_PART = 0.001, 0.02
# The end of the reason of a statement whose modules another one loads as well.
NEEDLESS = "is loaded all the same"
# The most lines about what stays, those of the slowest modules.
MOST = 20


def replacement(one: Statement, version: tuple[int, ...], *, optional: bool = False) -> str:
    """Return what to write in place of a statement, a `target.statements.Statement` as a mapping."""
    if optional:
        (name,) = one["names"]
        if name == one["module"] or "." not in one["module"] or one["text"].endswith(f" as {name}"):
            return f'{name} = lazyguard.optional_import("{one["module"]}")'
    if version >= NATIVE and one["within"] in ("", "if", "block"):
        return f"lazy {one['text']}"
    if one["within"] == "with" and one["kind"] == "import" and one["text"].endswith(" as " + next(iter(one["names"]))):
        return f'{next(iter(one["names"]))} = lazyguard.load("{one["module"]}")'
    return f"with lazyguard.lazy_imports():\n    {one['text']}"


def attached(exports: Sequence[Statement], package: str, *, has_all: bool) -> str:
    """Return the one call in place of all re-exports of a package that are deferred; its own `__all__` stays."""
    submodules: list[str] = []
    relative: dict[str, list[str]] = {}
    absolute: dict[str, list[str]] = {}
    for one in exports:
        module = one["module"]
        entries = [taken if taken == name else f"{taken} as {name}" for name, taken in one["names"].items()]
        if module == package:
            submodules += entries
        elif module.startswith(package + "."):
            relative.setdefault(module[len(package) + 1 :], []).extend(entries)
        else:
            absolute.setdefault(module, []).extend(entries)
    lines = ["    __name__,"]
    if submodules:
        lines.append(f"    submodules={_list(submodules)},")
    for option, table in (("submod_attrs", relative), ("absolute_attrs", absolute)):
        if table:
            pairs = ", ".join(f'"{module}": {_list(names)}' for module, names in table.items())
            lines.append(f"    {option}={{{pairs}}},")
    left = "__getattr__, __dir__, _" if has_all else "__getattr__, __dir__, __all__"
    return "\n".join([f"{left} = lazyguard.attach(", *lines, ")"])


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def ruff_settings(defer: Iterable[str], stay: Iterable[str], effects: Iterable[str], *, native: bool) -> str:
    """Return the settings of ruff, as TOML; "" where there are none.

    Args:
        defer: the modules of the statements that are to be deferred.
        stay: the modules of all others.
        effects: those among them that are imported for their side effects.
        native: whether the target has `lazy import`.
    """
    kept = set(stay)
    wanted = sorted({name for name in defer if not any(is_below(each, name) for each in kept)})
    banned = sorted({name for name in effects if not any(is_below(each, name) for each in wanted)}) if native else []
    if not wanted and not banned:
        return ""
    rules = '["TID254", "TID255"]' if native else '["TID253"]'
    lines = ['[tool.ruff]\ntarget-version = "py315"\n'] if native else []
    lines += ["[tool.ruff.lint]", f"extend-select = {rules}", "", f"[tool.ruff.{RULES}]"]
    if wanted:
        lines.append(f"{'require-lazy' if native else 'banned-module-level-imports'} = {_array(wanted)}")
    if banned:
        lines.append(f"ban-lazy = {_array(banned)}")
    return "\n".join(lines) + "\n"


def is_below(module: str, name: str) -> bool:
    """Return whether a name stands for a module."""
    return module == name or module.startswith(name + ".")


def _array(names: list[str]) -> str:
    return "[" + "".join(f'\n    "{name}",' for name in names) + "\n]"


def advice(report: Report) -> str:
    """Return the advice of a report as text; "" where there is none."""
    return "\n\n".join(_of(one) for one in report.advice)


def _of(one: Advice) -> str:
    defer = [each for each in one.imports if each.defer]
    stay = [each for each in one.imports if not each.defer]
    parts = [_head(one, len(defer))]
    if defer:
        rows = [["saves", "share", "import", "at"]]
        rows += [[_ms(each.saving, one), _share(each, one), each.statement, str(each.place)] for each in defer]
        worth = [each for each in defer if not _is_noise(each.saving, one)]
        parts += [columns(rows, [0, 1]), _replacements(worth or defer)]
    shown = [each for each in stay if not str(each.reason).endswith(NEEDLESS)]
    if shown:
        rows = [["stays as it is", "at", "because"]]
        for each in shown[:MOST]:
            where = f" ({each.because})" if each.because else ""
            rows.append([each.statement, str(each.place), f"{each.reason}{where}"])
        parts.append(columns(rows, []))
    left = [
        f"{len(shown) - MOST} more that stay" if len(shown) > MOST else "",
        f"{len(stay) - len(shown)} whose modules are loaded all the same" if len(stay) > len(shown) else "",
    ]
    if any(left):
        parts.append("and " + ", ".join(filter(None, left)) + ": --json has them")
    if one.ruff:
        parts.append("for ruff, in pyproject.toml:\n" + indent(one.ruff.rstrip(), "    "))
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
    places: dict[tuple[str, str], list[str]] = {}
    for each in defer:
        if each.replacement is not None:
            places.setdefault((each.file, each.replacement), []).append(str(each.line))
    return "\n".join(
        f"{file}:{', '.join(lines)}, instead:\n{indent(text, '    ')}" for (file, text), lines in places.items()
    )


def is_noise(saving: float, seconds: float, noise: float) -> bool:
    """Return whether a saving cannot be told from none, for an import of so many seconds that varied by `noise`."""
    return saving < max(NOISE, NOISY_PART * seconds, noise)


def _is_noise(saving: float | None, one: Advice) -> bool:
    return saving is not None and is_noise(saving, one.seconds, one.noise)


def _ms(saving: float | None, one: Advice) -> str:
    return "" if saving is None else "~0 ms" if _is_noise(saving, one) else f"{saving * 1000:.1f} ms"


def _share(each: Deferral, one: Advice) -> str:
    return "" if each.share is None or each.saving is None or _is_noise(each.saving, one) else f"{each.share:.0%}"
