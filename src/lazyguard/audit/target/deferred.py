"""Imports a module while some of its import statements wait until their names are used.

Invariants: `child.py` runs this in place of itself. It imports only what every interpreter has loaded or built in. A
statement that waits is taken out of its module's code before the clock starts. The byte code that is there is read in
any case, so that runs with and without differ in nothing else. A statement runs when its name is looked up: a global
that is missing is looked for in the builtins, and these are ours. So what is found is always the real object, as with
`lazy import` of Python 3.15.

Where registrations are counted, what an import leaves behind in other modules, no attribute is read that could run code
of the program. Counted are dicts, lists and sets that are globals of modules, or attributes of their classes and of the
objects in them, and what is registered with the process. Entries of the standard library are not counted, for they come
whenever it is loaded; neither are caches, nor lazyguard's own registry of lazy objects. A filter of warnings counts
where the program makes it: those of a library are about the library, and come with it (numpy makes four).
"""

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from lazyguard.audit.target import child, recorder

    _Builtins = dict[str, Any]
else:
    _Builtins = dict

ONLY_PARSE = 0x400
BLOCKS = ("If", "Try", "TryStar", "With", "For", "While", "Match", "ExceptHandler", "match_case")

CONTAINERS = (dict, list, set)
STANDARD = frozenset(sys.stdlib_module_names)
PLAIN = frozenset(("type", "ABCMeta", "EnumMeta", "EnumType", "_ProtocolMeta"))
# File, line and column of a statement, and the module that it imports.
Unit = tuple[str, int, int, str]


def take_out(body: "list[Any]", wanted: "dict[tuple[int, int, str], int]") -> "list[tuple[int, Any]]":
    """Take the wanted import statements out of a body; return them with their numbers."""
    ast: Any = sys.modules["_ast"]
    taken: list[tuple[int, Any]] = []
    for at, node in enumerate(body):
        kind = type(node).__name__
        where = {each: getattr(node, each, 0) for each in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
        if kind == "Import":
            kept: list[Any] = []
            for alias in node.names:
                number = wanted.get((node.lineno, node.col_offset, alias.name))
                if number is None:
                    kept.append(alias)
                else:
                    taken.append((number, ast.Import(names=[alias], **where)))
            node.names = kept
            if not kept:
                body[at] = ast.Pass(**where)
        elif kind == "ImportFrom":
            number = wanted.get((node.lineno, node.col_offset, ""))
            if number is not None:
                taken.append((number, node))
                body[at] = ast.Pass(**where)
        elif kind in BLOCKS:
            for part in ("body", "handlers", "orelse", "finalbody", "cases"):
                taken += take_out(getattr(node, part, []), wanted)
    return taken


class Waiting:
    """The statements of one file that wait, and the code of the rest."""

    def __init__(self, file: str, wanted: "dict[tuple[int, int, str], int]") -> None:
        with open(file, "rb") as stream:
            tree: Any = compile(stream.read(), file, "exec", ONLY_PARSE, dont_inherit=True)
        self.names: dict[str, tuple[int, CodeType]] = {}
        for number, node in take_out(tree.body, wanted):
            alone = type(tree)(body=[node], type_ignores=[])
            code = compile(alone, file, "exec", dont_inherit=True)
            whole = type(node).__name__ == "ImportFrom"
            for alias in node.names:
                bound = alias.asname or (alias.name if whole else alias.name.split(".")[0])
                self.names[bound] = (number, code)
        self.code: CodeType = compile(tree, file, "exec", dont_inherit=True)


class Names(_Builtins):
    """The builtins of one module: a name that neither its globals nor these have may be waiting."""

    def __init__(self, run: "Run", space: "dict[str, Any]", waiting: "dict[str, tuple[int, CodeType]]") -> None:
        super().__init__(builtins.__dict__)
        self["__import__"] = run.imported if run.watched else lambda *args, **more: builtins.__import__(*args, **more)
        self.run = run
        self.space = space
        self.waiting: dict[str, tuple[int, CodeType]] = dict(waiting)

    def __missing__(self, name: str) -> "Any":
        if name in self.waiting:
            return self.resolve(name)
        return builtins.__dict__[name]

    def resolve(self, name: str) -> "Any":
        number, code = self.waiting[name]
        same = {each: one for each, one in self.waiting.items() if one[1] is code}
        for each in same:
            del self.waiting[each]
        if not self.run.over:
            self.run.used.append([number, name, *recorder.place_of(sys._getframe(2))])
        try:
            exec(code, self.space)
        except BaseException:
            self.waiting.update(same)
            raise
        return self.space[name]

    def attribute(self, before: "Callable[[str], Any] | None") -> "Callable[[str], Any]":
        """Return a module's `__getattr__`, for look-ups from outside."""
        module = self.space.get("__name__")

        def lazily(name: str) -> "Any":
            if name in self.waiting:
                return self.resolve(name)
            if before is not None:
                return before(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")

        return lazily


def is_foreign(module: object) -> bool:
    """Return whether the name of a module is one of the standard library's, or none."""
    return not isinstance(module, str) or module.partition(".")[0] in STANDARD or module == "builtins"


def contents(value: object) -> "dict[str, Any]":
    """Return an object's own attributes, without running its code."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except Exception:
        return {}
    return dict(found)


class Registrations:
    """Counts registrations; `owned` are the files that are first-party, as roots."""

    def __init__(self, owned: "tuple[str, ...]", subclasses: bool) -> None:
        self.owned = owned
        self.subclasses = subclasses
        self.calls: dict[str, int] = {}
        atexit, warnings, codecs = __import__("atexit"), __import__("warnings"), sys.modules["codecs"]

        self._count(atexit, "register", "functions with atexit", lambda given, _: self._owns(given))
        self._count(codecs, "register", "codecs", lambda given, _: not is_foreign(given))
        self._count(os, "register_at_fork", "functions with os.register_at_fork", lambda given, _: self._owns(given))
        for name in ("filterwarnings", "simplefilter"):
            self._count(warnings, name, "filters of warnings", lambda _, by: self._owns(by))

    def _owns(self, module: object) -> bool:
        file = getattr(sys.modules.get(module), "__file__", None) if isinstance(module, str) else None
        return isinstance(file, str) and recorder.is_first_party(file, self.owned)

    def _count(self, module: "Any", name: str, text: str, counts: "Callable[[object, object], bool]") -> None:
        """Count the calls of a function by the module of what is given, and by the module that calls."""
        original: Callable[..., Any] = getattr(module, name)
        self.calls[text] = 0

        def counted(*args: "Any", **more: "Any") -> "Any":
            given = next(iter((*args, *more.values())), None)
            by = sys._getframe(1).f_globals.get("__name__")
            self.calls[text] += counts(getattr(given, "__module__", None), by)
            return original(*args, **more)

        setattr(module, name, counted)

    def snapshot(self) -> "dict[str, int]":
        """Return how many there are, by what they are registered as: `entries in core.app.REGISTRY`."""
        found = dict(self.calls)
        seen: set[int] = set()

        def count(value: object, name: str) -> None:
            if issubclass(type(value), CONTAINERS) and id(value) not in seen and "cache" not in name.lower():
                seen.add(id(value))
                sized: Any = value
                found[f"entries in {name}"] = len(sized)

        for module_name, module in list(sys.modules.items()):
            if is_foreign(module_name) or type(module) is not type(sys) or module_name.startswith("lazyguard."):
                continue
            owned = self._owns(module_name)
            for name, value in list(module.__dict__.items()):
                if name.startswith("__"):
                    continue
                whole = f"{module_name}.{name}"
                count(value, whole)
                if not owned or isinstance(value, (*CONTAINERS, type(sys))):
                    continue
                if isinstance(value, type):
                    if value.__module__ == module_name:
                        self._of_class(value, whole, count, found)
                elif not is_foreign(type(value).__module__):
                    for attribute, inner in contents(value).items():
                        count(inner, f"{whole}.{attribute}")
        self._of_process(found)
        return found

    def _of_class(
        self, kind: "type[Any]", whole: str, count: "Callable[[object, str], None]", found: "dict[str, int]"
    ) -> None:
        for attribute, inner in list(type.__getattribute__(kind, "__dict__").items()):
            if not attribute.startswith("__"):
                count(inner, f"{whole}.{attribute}")
        notified = any("__init_subclass__" in vars(each) and not is_foreign(each.__module__) for each in kind.__mro__)
        if notified or type(kind).__name__ not in PLAIN or self.subclasses:
            found[f"subclasses of {whole}"] = len(type.__subclasses__(kind))

    def _of_process(self, found: "dict[str, int]") -> None:
        for name in ("meta_path", "path_hooks"):
            members: list[Any] = getattr(sys, name)
            found[f"entries in sys.{name}"] = sum(
                not is_foreign(getattr(each, "__module__", None) or type(each).__module__) for each in members
            )
        signals: Any = sys.modules.get("_signal")
        if signals is not None:
            caught = [signals.getsignal(number) for number in signals.valid_signals()]
            found["handlers of signals"] = sum(not is_foreign(getattr(each, "__module__", "os")) for each in caught)
        logging: Any = sys.modules.get("logging")
        if hasattr(logging, "root"):
            loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
            handlers = [each for logger in loggers for each in getattr(logger, "handlers", ())]
            found["handlers of loggers"] = sum(type(each).__name__ != "NullHandler" for each in handlers)
        kinds: Any = getattr(sys.modules.get("copyreg"), "dispatch_table", {})
        found["entries in copyreg.dispatch_table"] = sum(
            self._owns(getattr(each, "__module__", None)) for each in kinds
        )


class Run:
    """One import of the target."""

    def __init__(self, units: "list[Unit]", snapshot: "Callable[[], dict[str, int]] | None") -> None:
        self.units = units
        self.snapshot = snapshot
        self.watched: dict[tuple[str, int, str], int] = (
            {(unit[0], unit[1], unit[3]): at for at, unit in enumerate(units)} if snapshot else {}
        )
        self.over = False
        self.used: list[list[Any]] = []
        self.applied: set[int] = set()
        self.spans: list[list[Any]] = []
        self.stack: list[int] = []
        self.grown: dict[int, dict[str, int]] = {}
        self.prepared: dict[str, Waiting] = {}
        files: dict[str, dict[tuple[int, int, str], int]] = {}
        for at, (file, line, column, name) in enumerate(units):
            files.setdefault(file, {})[(line, column, name)] = at
        __import__("_ast")
        for file, wanted in files.items():
            self.prepared[file] = Waiting(file, {} if snapshot else wanted)

    def imported(
        self, name: str, globals: "Any" = None, locals: "Any" = None, names: "Any" = (), level: int = 0
    ) -> "Any":
        """Stand for `__import__` when registrations are watched: what grows meanwhile is put down to the statement."""
        frame = sys._getframe(1)
        code = frame.f_code
        at = None
        if code.co_name == "<module>":
            at = self.watched.get((code.co_filename, frame.f_lineno, "" if names else name))
        if at is None or self.snapshot is None:
            return builtins.__import__(name, globals, locals, names, level)
        before = self.snapshot()
        try:
            return builtins.__import__(name, globals, locals, names, level)
        finally:
            after = self.snapshot()
            more = {key: after[key] - count for key, count in before.items() if after.get(key, 0) > count}
            self.grown.setdefault(at, more)

    def install(self) -> None:
        """Begin to watch which modules run, and to have statements wait."""
        for loader, method in recorder.loader_methods():
            self._wrap(loader, method)

    def _wrap(self, loader: "Any", method: str) -> None:
        original: Callable[[Any, Any], Any] = getattr(loader, method)

        def run(self_: "Any", subject: "Any", /) -> "Any":
            name, file = recorder.module_of(subject)
            above, place = self.stack[-1] if self.stack else None, recorder.place_of(sys._getframe(1))
            span = [name, file, above, recorder._clock(), 0.0, *place]
            self.stack.append(len(self.spans))
            self.spans.append(span)
            try:
                waiting = self.prepared.get(file or "") if method == "exec_module" else None
                if waiting is None:
                    return original(self_, subject)
                return self.execute(self_, subject, waiting)
            finally:
                span[4] = recorder._clock()
                self.stack.pop()

        setattr(loader, method, run)

    def execute(self, loader: "Any", module: "Any", waiting: Waiting) -> None:
        """Execute a module without the statements that wait."""
        loader.get_code(module.__name__)  # it is read in any case, so that the time for that is in all runs
        space = module.__dict__
        names = space["__builtins__"] = Names(self, space, waiting.names)
        ours = space["__getattr__"] = names.attribute(None)
        self.applied.update(number for number, _ in waiting.names.values())
        try:
            exec(waiting.code, space)
        finally:
            own = space.get("__getattr__")
            if own is not ours:
                space["__getattr__"] = names.attribute(own)


def main(argv: "list[str]") -> None:
    """Run `child.py deferred OUT GIVEN PATH SETUP MODULE MODE`; GIVEN has a unit or a root a line.

    MODE: run, watch or watch-subclasses.
    """
    out, given, path, setup, module, mode = argv
    units: list[Unit] = []
    roots: list[str] = []
    with open(given, "rb") as stream:
        for line in os.fsdecode(stream.read()).splitlines():
            kind, *rest = line.split("\t")
            if kind == "unit":
                units.append((rest[0], int(rest[1]), int(rest[2]), rest[3]))
            else:
                roots.append(rest[0])
    child.settle(path)
    watching = None
    if mode != "run":
        watching = Registrations(tuple(roots), mode == "watch-subclasses").snapshot
    run = Run(units, watching)
    failed: BaseException | None = None
    began, waited = recorder._clock(), child.queued()
    try:
        child.set_up(setup)  # what it loads, it loads in any case
        run.install()
        began, waited = recorder._clock(), child.queued()
        __import__(module)
    except BaseException as raised:
        failed = raised
    taken = recorder._clock() - began - (child.queued() - waited)  # load is no cost
    run.over = True
    answer = {
        "seconds": taken,
        "error": None if failed is None else child.describe(failed),
        "used": run.used,
        "applied": sorted(run.applied),
        "spans": [[*span[:3], span[3] - began, span[4] - began, *span[5:]] for span in run.spans],
        "grown": [[at, grown] for at, grown in run.grown.items()],
        "loaded": list(sys.modules),
    }
    sys.path[:] = [os.path.dirname(os.__file__)]  # the program may have a json of its own
    sys.modules.pop("json", None)
    import json

    with open(out, "w", encoding="ascii") as file:
        json.dump(answer, file)
    recorder._exit(0)
