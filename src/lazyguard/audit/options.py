"""`[tool.lazyguard.audit]` of a pyproject.toml: the defaults of the command.

Invariants: an unknown key and a value of a wrong type are errors that name the file. Paths in the file are relative to
the file.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lazyguard.audit.report.budget import Allowance, Budget, is_pattern
from lazyguard.audit.report.schema import WORDS
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

T = TypeVar("T")


class Option(NamedTuple):
    """An option of `audit` in the table of pyproject.toml and on the command line.

    Attributes:
        kinds: the types of its value; the first says how it is given on the command line.
        metavar: what stands for the value there; "" for one that is not given there, or in a way of its own.
    """

    kinds: tuple[type, ...]
    metavar: str = ""
    text: str = ""


# Those of the command line take precedence over pyproject.toml.
OPTIONS: dict[str, Option] = {
    "targets": Option((list,)),
    "path": Option(
        (list, str),
        "DIR",
        "a directory that has top-level packages, put first on sys.path (default: .); again for another",
    ),
    "exclude": Option(
        (list,),
        "PATTERN",
        "leave out modules with all below them: core.legacy, '*.migrations'; again for more. Tests and __main__ are "
        "left out unless a target names them",
    ),
    "setup": Option((str,), "CODE", "statements to run in each child before the import"),
    "django": Option(
        (bool,),
        "yes",
        "run django.setup() first, with the settings that manage.py names (default: where $DJANGO_SETTINGS_MODULE is "
        "set, and there is no --setup)",
    ),
    "strict": Option((bool,), "yes", "fail also over what is not installed but optional, or is for another platform"),
    "memory": Option((int,), "MB", "the most that a child may take, in megabytes (default: no limit)"),
    "shard": Option((str,), "I/N", "audit the I-th of every N modules; `lazyguard report combine` joins the reports"),
    "python": Option((str,), "EXE", "the interpreter to import with, 3.10 or newer (default: this one)"),
    "timeout": Option((float, int), "S", "seconds until an import counts as hanging (default: 5)"),
    "slow": Option((float, int), "S", "seconds from which an import counts as slow (default: 0.5)"),
    "jobs": Option((int,), "N", "imports at a time (default: one a processor, 8 at most)"),
    "repeat": Option((int,), "N", "import each N times, the fastest counts (default: 1)"),
    "walk": Option((bool,), "yes", "audit what is below packages (the default)"),
    "fork": Option(
        (bool,),
        "yes",
        "let forks with the dependencies loaded decide what is ok, quick and without a side effect, and what fails or "
        "acts as another module does in a fresh interpreter (default: from 12 modules on, on Linux, unless times are "
        "repeated); their times are put together, and marked ~",
    ),
    "advice": Option((bool,), "yes", "find what imports can be deferred, and what that saves, by imports without them"),
    "forbid": Option((list,)),
    "budgets": Option((dict,)),
}
_NAMES = WORDS | {dict: "a table", list: "an array of names", int: "a number"}


def from_pyproject(directories: list[str]) -> dict[str, Any]:
    """Return the options of the first pyproject.toml in the directories; {} when there is none with such a table.

    Raises:
        ConfigurationError: the file cannot be read, or an option in it cannot be right.
    """
    for directory in directories:
        file = Path(directory) / "pyproject.toml"
        if file.is_file():
            found = _checked(_table(file), file)
            if found:
                return found
    return {}


def _table(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not re.search(r"^\s*\[\s*tool\s*\.\s*[\"']?lazyguard\b|^\s*lazyguard\s*[.=]", text, re.MULTILINE):
        return {}
    ours: Any = read_toml(file)
    for key in ("tool", "lazyguard", "audit"):
        for other in set(ours) - {"audit"} if key == "audit" else ():
            raise ConfigurationError(f"{file}: [tool.lazyguard] has no {other}; there is [tool.lazyguard.audit]")
        ours = ours.get(key, {})
        if not isinstance(ours, dict):
            raise ConfigurationError(f"{file}: [tool.lazyguard.audit] must be a table")
    found: dict[str, Any] = ours
    return found


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a file of TOML has.

    Raises:
        ConfigurationError: it cannot be read.
    """
    for name in ("tomllib", "tomli"):
        try:
            toml = importlib.import_module(name)
            found: dict[str, Any] = toml.loads(file.read_text(encoding="utf-8"))
        except ModuleNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{file} is not TOML: {error}") from error
        return found
    raise ConfigurationError(f"reading {file} before Python 3.11 needs tomli: pip install 'lazyguard[audit]'")


def _checked(table: Mapping[str, Any], file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        _check_key(key, OPTIONS, f"{file}: [tool.lazyguard.audit]")
        kinds = OPTIONS[key].kinds
        right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        members: list[Any] = value if isinstance(value, list) else []
        if not right or not all(isinstance(each, str) for each in members):
            raise ConfigurationError(f"{file}: {key} must be {_NAMES[kinds[0]]}, and is {value!r}")
        found[key] = value
    budgets = _budgets(found.pop("budgets", {}), found.pop("forbid", []), file)
    if budgets:
        found["budgets"] = budgets
    base = file.parent
    if "path" in found:
        given: Any = found["path"]
        whole = isinstance(given, str)
        found["path"] = os.path.join(base, given) if whole else [os.path.join(base, each) for each in given]
    if os.sep in found.get("python", ""):
        found["python"] = os.path.join(base, found["python"])
    return found


def _check_key(key: str, known: Collection[str], where: str) -> None:
    """Raise ConfigurationError for an unknown option, with the most similar one."""
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(known)
        raise ConfigurationError(f"{where} has no option {key}; {hint}")


def _budgets(tables: Mapping[str, Any], forbid: list[str], file: Path) -> dict[str, Budget]:
    """Return the budgets of `[tool.lazyguard.audit.budgets."NAME"]`; `forbid` is for all modules."""
    found = {"*": _build(Budget, {"forbid": forbid}, f"{file}: [tool.lazyguard.audit]")} if forbid else {}
    for pattern, table in tables.items():
        where = f'{file}: [tool.lazyguard.audit.budgets."{pattern}"]'
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where} must be a table, such as {{seconds = 0.1, modules = 200}}")
        if not is_pattern(pattern):
            raise ConfigurationError(f"{where} names no module; give core.tasks, or a pattern: core.*")
        given: dict[str, Any] = dict(table)  # pyright: ignore[reportUnknownArgumentType]
        allowance = given.get("allowance")
        if isinstance(allowance, dict):
            given["allowance"] = _build(Allowance, allowance, f"{where} allowance")  # pyright: ignore[reportUnknownArgumentType]
        elif allowance is not None:
            raise ConfigurationError(f"{where}: allowance must be a table, such as {{seconds = 0.005, relative = 0.1}}")
        if pattern == "*":
            given["forbid"] = [*given.get("forbid", []), *forbid] if isinstance(given.get("forbid", []), list) else ""
        found[pattern] = _build(Budget, given, where)
    return found


def with_given(budgets: Mapping[str, Budget], times: Iterable[str], forbid: Iterable[str]) -> dict[str, Budget]:
    """Return budgets with what `--budget NAME=S` and `--forbid NAME` add; a given time replaces another."""
    found = dict(budgets)
    for text in times:
        name, _, given = text.partition("=")
        try:
            if not is_pattern(name):
                raise ValueError
            found[name] = found.get(name, Budget()).but(seconds=float(given))
        except (ValueError, ConfigurationError) as error:
            raise ConfigurationError(f"--budget {text} is not right; write --budget core.tasks=0.1") from error
    names = list(forbid)
    if names:
        before = found.get("*", Budget())
        try:
            found["*"] = before.but(forbid=(*before.forbid, *names))
        except ConfigurationError as error:
            raise ConfigurationError(f"--forbid {' '.join(names)} is not right; write --forbid pandas") from error
    return found


def _build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return an object made of a table. An unknown option, and a wrong value, is an error with its place."""
    for key in values:
        _check_key(key, kind.__slots__, where)  # type: ignore[attr-defined]
    try:
        return kind(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
