"""`[tool.lazyguard.audit]` of a pyproject.toml: the defaults of the command.

Invariants: a key that is not known and a value of a wrong type are errors that name the file. Paths in the file are
relative to the file.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: dict[str, tuple[type, ...]] = {
    "targets": (list,),
    "path": (str,),
    "python": (str,),
    "timeout": (int, float),
    "slow": (int, float),
    "jobs": (int,),
    "repeat": (int,),
    "walk": (bool,),
}
NAMES: dict[type, str] = {list: "an array of names", str: "a string", int: "a number", bool: "true or false"}


def from_pyproject(directories: list[str]) -> dict[str, Any]:
    """Returns the options of the first pyproject.toml in the directories; {} when there is none with such a table.

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
    toml = _reader(file)
    try:
        data: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error
    for key in ("tool", "lazyguard", "audit"):
        found = data.get(key, {})
        if not isinstance(found, dict):
            raise ConfigurationError(f"{file}: [tool.lazyguard.audit] must be a table")
        data = found  # pyright: ignore[reportUnknownVariableType]
    return data


def _reader(file: Path) -> Any:
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ConfigurationError(f"reading {file} before Python 3.11 needs tomli: pip install 'lazyguard[audit]'")


def _checked(table: Mapping[str, Any], file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(KEYS)
            raise ConfigurationError(f"{file}: [tool.lazyguard.audit] has no option {key}; {hint}")
        kinds = KEYS[key]
        right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        names: Any = value
        if not right or (key == "targets" and not all(isinstance(each, str) for each in names)):
            raise ConfigurationError(f"{file}: {key} must be {NAMES[kinds[0]]}, and is {value!r}")
        found[key] = value
    base = file.parent
    if "path" in found:
        found["path"] = os.path.join(base, found["path"])
    if os.sep in found.get("python", ""):
        found["python"] = os.path.join(base, found["python"])
    return found
