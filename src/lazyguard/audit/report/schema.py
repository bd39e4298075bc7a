"""The JSON of a report: written from its objects, read back with every place checked.

Invariants: `read(plain(report))` gives the same report; what is not a report raises ConfigurationError that names the
place that is wrong, never a KeyError from inside. What is read is what the fields of the objects are annotated with; a
field that is not there has its default, or is empty where it may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from typing import Any, get_args, get_origin, get_type_hints

from lazyguard.audit.report.model import SCHEMA, VERDICTS, Finding, ModuleReport, Report
from lazyguard.errors import ConfigurationError

Reader = Callable[[Any, str], Any]
"""Takes a value of the JSON, and what its place is called."""
WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
}


def plain(value: Any) -> Any:
    """Returns objects of a report as dicts and lists."""
    if is_dataclass(value):
        found = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        if isinstance(value, Finding) and value.also is None:
            del found["also"]
        return found
    if isinstance(value, tuple):
        members: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return [plain(each) for each in members]
    return value


def read(data: object) -> Report:
    """Returns the report in the data, or raises ConfigurationError."""
    schema = _plain(int, _plain(dict, data, "the report").get("schema"), "the report.schema")
    if schema != SCHEMA:
        raise ConfigurationError(f"this report has schema {schema}; this lazyguard reads {SCHEMA}: audit again")
    report: Report = _object(Report, data, "")
    return report


def _object(kind: Any, value: object, where: str) -> Any:
    """Returns an object of a kind, made of a mapping."""
    data = _plain(dict, value, where or "the report")
    within = where + "." if where else ""
    if kind is ModuleReport and (verdict := _plain(str, data.get("verdict"), within + "verdict")) not in VERDICTS:
        raise _wrong(within + "verdict", "one of " + ", ".join(VERDICTS), verdict)
    made: dict[str, Any] = {}
    for name, reader, absent in _fields(kind):
        made[name] = absent if name not in data and absent is not MISSING else reader(data.get(name), within + name)
    return kind(**made)


@cache
def _fields(kind: Any) -> list[tuple[str, Reader, object]]:
    """Returns of each field its name, what reads it, and its value where it is not there (MISSING: it must be)."""
    hints = get_type_hints(kind)
    return [(each.name, _reader(hints[each.name]), _absent(hints[each.name], each.default)) for each in fields(kind)]


def _absent(hint: Any, default: object) -> object:
    if default is not MISSING:
        return default
    return () if get_origin(hint) is tuple else None if type(None) in get_args(hint) else MISSING


def _reader(hint: Any) -> Reader:
    """Returns what reads a field with an annotation."""
    members = get_args(hint)
    if type(None) in members:
        inner = _reader(members[0])
        return lambda value, where: None if value is None else inner(value, where)
    if get_origin(hint) is tuple:
        one = _reader(members[0])
        return lambda value, where: tuple(
            [one(each, f"{where}[{at}]") for at, each in enumerate(_plain(list, value, where))]
        )
    return partial(_object if is_dataclass(hint) else _plain, hint)


def _plain(kind: Any, value: Any, where: str) -> Any:
    """Returns a value as it is, or a number as a float where that is wanted."""
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(where, WORDS[kind], value)
    return float(value) if kind is float else value


def _wrong(where: str, wanted: str, value: object) -> ConfigurationError:
    shown = "missing" if value is None else repr(value)[:60]
    return ConfigurationError(
        f"not a report of `lazyguard audit --json`: {where} must be {wanted}, and is {shown}; write it anew"
    )
