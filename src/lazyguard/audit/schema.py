"""The JSON of a report: written from its objects, read back with every place checked.

Invariants: `read(plain(report))` gives the same report; what is not a report raises ConfigurationError that names the
place that is wrong, never a KeyError from inside.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lazyguard.audit.report import (
    SCHEMA,
    VERDICTS,
    Advice,
    Against,
    Blame,
    Deferral,
    Failure,
    Finding,
    Imported,
    ModuleReport,
    Place,
    Report,
    Slower,
    Spending,
)
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def read(data: object) -> Report:
    """Returns the report in the data, or raises ConfigurationError."""
    report = _mapping(data, "the report")
    schema = _get(report, "schema", "the report", _integer)
    if schema != SCHEMA:
        raise ConfigurationError(f"this report has schema {schema}; this lazyguard reads {SCHEMA}: audit again")
    return Report(
        python=_get(report, "python", "the report", _string),
        timeout=_get(report, "timeout", "the report", _number),
        repeats=_get(report, "repeats", "the report", _integer),
        modules=tuple(
            _module(each, f"modules[{at}]") for at, each in enumerate(_list(report.get("modules"), "modules"))
        ),
        slow=_get(report, "slow", "the report", _number, 0.5),
        path=_get(report, "path", "the report", _string, "."),
        interpreter_seconds=_get(report, "interpreter_seconds", "the report", _number, 0.0),
        pending=_strings(report.get("pending", []), "pending"),
        budgets=tuple(
            _spending(each, f"budgets[{at}]") for at, each in enumerate(_list(report.get("budgets", []), "budgets"))
        ),
        fresh_because=None
        if report.get("fresh_because") is None
        else _get(report, "fresh_because", "the report", _string),
        left_out=_strings(report.get("left_out", []), "left_out"),
        uncompiled=_get(report, "uncompiled", "the report", _integer, 0),
        advice=tuple(
            _advice(each, f"advice[{at}]") for at, each in enumerate(_list(report.get("advice", []), "advice"))
        ),
        against=None if report.get("against") is None else _against(report["against"], "against"),
    )


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


def _wrong(where: str, wanted: str, value: object) -> ConfigurationError:
    shown = "missing" if value is None else repr(value)[:60]
    return ConfigurationError(
        f"not a report of `lazyguard audit --json`: {where} must be {wanted}, and is {shown}; write it anew"
    )


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a string", value)
    return value


def _integer(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(where, "a whole number", value)
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong(where, "a number", value)
    return float(value)


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)
    return value


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return value  # pyright: ignore[reportUnknownVariableType]


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "an array", value)
    return value  # pyright: ignore[reportUnknownVariableType]


def _strings(value: object, where: str) -> tuple[str, ...]:
    return tuple(_string(each, where) for each in _list(value, where))


def _get(
    data: Mapping[str, Any], key: str, where: str, read: Callable[[object, str], T], default: T | None = None
) -> T:
    value = data.get(key, default)
    return read(value, f"{where}.{key}")


def _line(value: object, where: str) -> int | None:
    return None if value is None else _integer(value, where)


def _place(value: object, where: str) -> Place | None:
    if value is None:
        return None
    data = _mapping(value, where)
    return Place(_get(data, "file", where, _string), _line(data.get("line"), where + ".line"))


def _module(value: object, where: str) -> ModuleReport:
    data = _mapping(value, where)
    verdict = _get(data, "verdict", where, _string)
    if verdict not in VERDICTS:
        raise _wrong(where + ".verdict", "one of " + ", ".join(VERDICTS), verdict)
    blame, error = data.get("blame"), data.get("error")
    return ModuleReport(
        module=_get(data, "module", where, _string),
        verdict=verdict,
        seconds=_get(data, "seconds", where, _number),
        own_seconds=_get(data, "own_seconds", where, _number),
        third_party_seconds=_get(data, "third_party_seconds", where, _number, 0.0),
        blame=None if blame is None else _blame(blame, where + ".blame"),
        error=None if error is None else _failure(error, where + ".error"),
        findings=tuple(_finding(each, where + ".findings") for each in _list(data.get("findings", []), where)),
        detail=None if data.get("detail") is None else _get(data, "detail", where, _string),
        output=None if data.get("output") is None else _get(data, "output", where, _string),
        imports=tuple(
            _imported(each, f"{where}.imports[{at}]") for at, each in enumerate(_list(data.get("imports", []), where))
        ),
        executed=_get(data, "executed", where, _integer, 0),
        tier=_get(data, "tier", where, _string, "fresh"),
        repeats=_get(data, "repeats", where, _integer, 1),
        queued_seconds=_get(data, "queued_seconds", where, _number, 0.0),
    )


def _against(value: object, where: str) -> Against:
    data = _mapping(value, where)
    return Against(
        path=_get(data, "path", where, _string),
        modules=_get(data, "modules", where, _integer),
        uncompiled=_get(data, "uncompiled", where, _integer, 0),
        slower=tuple(
            _slower(each, f"{where}.slower[{at}]") for at, each in enumerate(_list(data.get("slower", []), where))
        ),
        left=_strings(data.get("left", []), where + ".left"),
    )


def _slower(value: object, where: str) -> Slower:
    data = _mapping(value, where)
    return Slower(
        module=_get(data, "module", where, _string),
        before=_get(data, "before", where, _number),
        after=_get(data, "after", where, _number),
        new=_strings(data.get("new", []), where + ".new"),
        grown=_strings(data.get("grown", []), where + ".grown"),
        place=_place(data.get("place"), where + ".place"),
        chain=_strings(data.get("chain", []), where + ".chain"),
    )


def _spending(value: object, where: str) -> Spending:
    data = _mapping(value, where)
    return Spending(
        target=_get(data, "target", where, _string),
        kind=_get(data, "kind", where, _string),
        limit=_get(data, "limit", where, _number),
        measured=_get(data, "measured", where, _number),
        allowance=_get(data, "allowance", where, _number),
        exceeded=_get(data, "exceeded", where, _boolean),
        place=_place(data.get("place"), where + ".place"),
        chain=_strings(data.get("chain", []), where + ".chain"),
        largest=_strings(data.get("largest", []), where + ".largest"),
    )


def _optional(data: Mapping[str, Any], key: str, where: str, read: Callable[[object, str], T]) -> T | None:
    return None if data.get(key) is None else _get(data, key, where, read)


def _advice(value: object, where: str) -> Advice:
    data = _mapping(value, where)
    return Advice(
        target=_get(data, "target", where, _string),
        seconds=_get(data, "seconds", where, _number),
        saving=_optional(data, "saving", where, _number),
        rounds=_get(data, "rounds", where, _integer, 0),
        imports=tuple(
            _deferral(each, f"{where}.imports[{at}]") for at, each in enumerate(_list(data.get("imports", []), where))
        ),
        ruff=_get(data, "ruff", where, _string, ""),
        note=_optional(data, "note", where, _string),
        noise=_get(data, "noise", where, _number, 0.0),
    )


def _deferral(value: object, where: str) -> Deferral:
    data = _mapping(value, where)
    return Deferral(
        file=_get(data, "file", where, _string),
        line=_line(data.get("line"), where + ".line"),
        importer=_get(data, "importer", where, _string),
        module=_get(data, "module", where, _string),
        statement=_get(data, "statement", where, _string),
        defer=_get(data, "defer", where, _boolean),
        saving=_optional(data, "saving", where, _number),
        share=_optional(data, "share", where, _number),
        reason=_optional(data, "reason", where, _string),
        because=_place(data.get("because"), where + ".because"),
        replacement=_optional(data, "replacement", where, _string),
    )


def _imported(value: object, where: str) -> Imported:
    data = _mapping(value, where)
    return Imported(
        module=_get(data, "module", where, _string),
        parent=_line(data.get("parent"), where + ".parent"),
        start=_get(data, "start", where, _number),
        seconds=_get(data, "seconds", where, _number),
        own_seconds=_get(data, "own_seconds", where, _number),
        first_party=_get(data, "first_party", where, _boolean),
        file=None if data.get("file") is None else _get(data, "file", where, _string),
        by=_place(data.get("by"), where + ".by"),
        failed=_get(data, "failed", where, _boolean, False),
    )


def _blame(value: object, where: str) -> Blame:
    data = _mapping(value, where)
    leaf = _place(data.get("leaf"), where + ".leaf")
    chain = _strings(data.get("chain", []), where + ".chain")
    return Blame(_get(data, "file", where, _string), _line(data.get("line"), where + ".line"), leaf, chain)


def _failure(value: object, where: str) -> Failure:
    data = _mapping(value, where)
    hint = None if data.get("hint") is None else _get(data, "hint", where, _string)
    return Failure(_get(data, "type", where, _string), _get(data, "message", where, _string), hint)


def _finding(value: object, where: str) -> Finding:
    data = _mapping(value, where)
    return Finding(
        kind=_get(data, "kind", where, _string),
        file=_get(data, "file", where, _string),
        line=_line(data.get("line"), where + ".line"),
        detail=_get(data, "detail", where, _string, ""),
        chain=_strings(data.get("chain", []), where + ".chain"),
        also=_place(data.get("also"), where + ".also"),
    )
