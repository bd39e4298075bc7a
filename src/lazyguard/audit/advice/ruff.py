"""What ruff is to be told so that what is advised stays: TOML for its rules of lazy imports.

Invariants: a name stands for all that is below it, as in ruff. None is listed that would find fault with a statement
that must stay. TID253 (before Python 3.15) forbids an import at module level, but not in a `with`; TID254 requires
`lazy`, or forbids it, and TID255 finds a lazy import that is used at once; both from Python 3.15 on, in ruff 0.17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES = "lint.flake8-tidy-imports"


def toml(defer: Iterable[str], stay: Iterable[str], acts: Iterable[str], *, native: bool) -> str:
    """Returns the settings; "" where there are none.

    Args:
        defer: the modules of the statements that are to be deferred.
        stay: the modules of all others.
        acts: those among them that are imported for what they do.
        native: whether the target has `lazy import`.
    """
    kept = set(stay)
    wanted = sorted({name for name in defer if not any(is_below(each, name) for each in kept)})
    banned = sorted({name for name in acts if not any(is_below(each, name) for each in wanted)}) if native else []
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
    """Returns whether a name stands for a module."""
    return module == name or module.startswith(name + ".")


def _array(names: list[str]) -> str:
    return "[" + "".join(f'\n    "{name}",' for name in names) + "\n]"
