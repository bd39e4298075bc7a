"""The files that a report is written to, one format each.

Invariants: a path that cannot be written is an error before the audit begins. A file is replaced as a whole or stays as
it was; what is no regular file (a pipe, /dev/stderr) is written as it is. `-` stands for stdout, in place of the table.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lazyguard.audit.report.model import Report


def _json(report: Report, _before: Report | None) -> str:
    """Return the report with a line for each module, so that two of them can be compared as texts."""
    found = report.packed()
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in found.pop("modules"))
    head = json.dumps({**found, "modules": []}, indent=2)
    return head.removesuffix("[]\n}") + f"[\n{lines}\n]\n}}\n"


def _in(module: str) -> Callable[[Report, Report | None], str]:
    """Return the `page` of a module here, which is loaded for it."""
    return lambda report, before: str(import_module(f"lazyguard.audit.output.{module}").page(report, before))


# By the option that names the file: what makes the text of a report, with an earlier one beside it.
FORMATS: dict[str, Callable[[Report, Report | None], str]] = {"json": _json, "html": _in("html"), "junit": _in("junit")}


def schema() -> str:
    """Return the JSON Schema (draft 2020-12) of what `--json` writes."""
    from importlib.resources import files

    return files("lazyguard.audit.report").joinpath("report.schema.json").read_text(encoding="utf-8")


def check(files: Mapping[str, str]) -> None:
    """Raise ConfigurationError where a file (by its option) could not be written."""
    named: dict[str, str] = {}
    for option, file in files.items():
        other = named.setdefault(file if file == "-" else os.path.realpath(file), option)
        if other != option:
            raise ConfigurationError(f"--{option} {file}: --{other} writes there too; name another file")
        if file == "-":
            continue
        try:
            if _is_special(file):
                continue
            if os.path.isdir(file):
                raise ConfigurationError(f"--{option} {file}: this is a directory; name a file in it")
            if not os.path.isdir(os.path.dirname(os.path.realpath(file))):
                raise ConfigurationError(f"--{option} {file}: there is no such directory; make it first")
            _put(file, None)
        except OSError as error:
            raise _unwritable(option, file, error) from error


def write(report: Report, files: Mapping[str, str], before: Report | None = None) -> None:
    """Write the report, beside an earlier one, to each file in the format of its option.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    for option, file in files.items():
        text = FORMATS[option](report, before)
        if file == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        try:
            _put(file, text)
        except OSError as error:
            raise _unwritable(option, file, error) from error


def _put(file: str, text: str | None) -> None:
    """Replace the file; with None only try whether that is possible."""
    if _is_special(file):
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(text or "")
        return
    target = os.path.realpath(file)
    new = f"{target}.{os.getpid()}.new"
    try:
        with open(new, "x", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text or "")
        if text is not None:
            os.replace(new, target)
    finally:
        if os.path.lexists(new):
            os.unlink(new)


def _is_special(file: str) -> bool:
    return os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file)


def _unwritable(option: str, file: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"--{option} {file} cannot be written: {error.strerror}")
