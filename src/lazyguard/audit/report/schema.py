"""Objects of a report as JSON, and back with every place checked; in files the trees of imports are rows of numbers.

Invariants: `read(kind, plain(value))` gives the same value. What is not such an object raises ConfigurationError that
names the place that is wrong, never a KeyError from inside. A field is read as it is annotated. One that is not there
has its default, or is empty where it may be. `field(metadata=)` knows `one_of`, the values that a text may have, and
`left_out`, for a None that is not written. What is packed and unpacked is what `Report.to_dict` gives; times of a tree
are whole microseconds. Texts that occur often are there once. What has the trees as objects, as
`lazyguard.track_imports` writes them, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lazyguard.audit.report.modules import Imported, ModuleReport

T = TypeVar("T")
# Takes a value of the JSON, and the name of its place.
Reader = Callable[[Any, str], Any]
WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
}


def plain(value: Any) -> Any:
    """Return objects of a report as dicts and lists."""
    if is_dataclass(value):
        given = [(each, getattr(value, each.name)) for each in fields(value)]
        return {each.name: plain(one) for each, one in given if one is not None or "left_out" not in each.metadata}
    if isinstance(value, tuple):
        members: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return [plain(each) for each in members]
    return value


def read(kind: type[T], data: object) -> T:
    """Return the object of a kind that the data is, or raise ConfigurationError."""
    made: T = _object(kind, data, "")
    return made


def _object(kind: Any, value: object, where: str) -> Any:
    """Return an object of a kind, made of a mapping."""
    data = expect(dict, value, where or "the report")
    within = where + "." if where else ""
    made: dict[str, Any] = {}
    for name, reader, absent in _fields(kind):
        made[name] = absent if name not in data and absent is not MISSING else reader(data.get(name), within + name)
    return kind(**made)


@cache
def _fields(kind: Any) -> list[tuple[str, Reader, object]]:
    """Return of each field its name, what reads it, and its value where it is not there (MISSING: it must be)."""
    hints = get_type_hints(kind)
    found: list[tuple[str, Reader, object]] = []
    for each in fields(kind):
        values = each.metadata.get("one_of")
        reader = _reader(hints[each.name]) if values is None else partial(_one_of, values)
        empty = () if get_origin(hints[each.name]) is tuple else None
        may_be = empty is not None or type(None) in get_args(hints[each.name])
        found.append((each.name, reader, empty if each.default is MISSING and may_be else each.default))
    return found


def _one_of(values: tuple[str, ...], value: Any, where: str) -> str:
    """Return a text that is one of some."""
    if expect(str, value, where) not in values:
        raise _wrong(where, "one of " + ", ".join(values), value)
    return str(value)


def _reader(hint: Any) -> Reader:
    """Return what reads a field with an annotation."""
    members = get_args(hint)
    if type(None) in members:
        inner = _reader(members[0])
        return lambda value, where: None if value is None else inner(value, where)
    if get_origin(hint) is tuple:
        one = _reader(members[0])
        return lambda value, where: tuple(
            [one(each, f"{where}[{at}]") for at, each in enumerate(expect(list, value, where))]
        )
    return partial(_object if is_dataclass(hint) else expect, hint)


def expect(kind: Any, value: Any, where: str) -> Any:
    """Return a value of a kind as it is, or a number as a float where that is wanted."""
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(where, WORDS[kind], value)
    return float(value) if kind is float else value


def _wrong(where: str, wanted: str, value: object) -> ConfigurationError:
    shown = "missing" if value is None else repr(value)[:60]
    return ConfigurationError(
        f"not a report of `lazyguard audit --json`: {where} must be {wanted}, and is {shown}; write it anew"
    )


# Numbers a row: module, parent, start and seconds and own seconds in microseconds, flags, file, file and line that
# asked for it. A text is its place among `strings`; -1 is none.
COLUMNS = 9
FIRST_PARTY, FAILED = 1, 2


class Strings(dict[str, int]):
    """Texts by number."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]


def packed(data: dict[str, Any], modules: Iterable[ModuleReport]) -> dict[str, Any]:
    """Return the data of a report without trees, with the imports of its modules as one flat list of numbers each."""
    strings = Strings()
    for each, module in zip(data["modules"], modules, strict=True):
        each["imports"] = [number for row in module.imports for number in _row(row, strings)]
    return data | {"strings": list(strings)}


def unpacked(data: Any) -> Any:
    """Return what `packed` gave with objects in place of the rows.

    Raises:
        ConfigurationError: a number stands for nothing.
    """
    strings = data.get("strings") if isinstance(data, dict) else None
    if not isinstance(strings, list):
        return data
    try:
        modules = [{**each, "imports": [*_objects(each["imports"], strings)]} for each in data["modules"]]
    except (TypeError, ValueError, LookupError) as error:
        raise ConfigurationError(
            f"not a report of `lazyguard audit --json`: the imports cannot be read ({error})"
        ) from error
    return {key: value for key, value in data.items() if key != "strings"} | {"modules": modules}


def _row(row: Imported, strings: Strings) -> tuple[int, ...]:
    by = row.by
    file, asking = (-1 if text is None else strings[text] for text in (row.file, None if by is None else by.file))
    return (
        strings[row.module],
        -1 if row.parent is None else row.parent,
        *(round(each * 1e6) for each in (row.start, row.seconds, row.own_seconds)),
        FIRST_PARTY * row.first_party | FAILED * row.failed,
        file,
        asking,
        -1 if by is None or by.line is None else by.line,
    )


def _objects(numbers: list[int], strings: list[str]) -> list[dict[str, Any]]:
    def text(number: int) -> str | None:
        return None if number < 0 else strings[number]

    rows = [numbers[at : at + COLUMNS] for at in range(0, len(numbers), COLUMNS)]
    return [
        {
            "module": text(name),
            "parent": None if parent < 0 else parent,
            "start": start / 1e6,
            "seconds": seconds / 1e6,
            "own_seconds": own / 1e6,
            "first_party": bool(flags & FIRST_PARTY),
            "failed": bool(flags & FAILED),
            "file": text(file),
            "by": None if asking < 0 else {"file": text(asking), "line": None if line < 0 else line},
        }
        for name, parent, start, seconds, own, flags, file, asking, line in rows
    ]
