"""Dependencies that are loaded once and hidden, so that forked children get them without executing them.

Invariants: no first-party module is executed. After each dependency all that it loaded is hidden again: taken out of
sys.modules and out of its package. A forked child thus begins with the modules of a fresh interpreter. An import that
asks for a hidden module gets it, and with it what its execution imports, nothing else. What leaves more behind than
modules (a thread, a file, an exit function, a patched function, a warning) is unsafe to fork.
"""

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from lazyguard.audit.target import child, process_state, recorder

# Seconds from which the execution of a hidden module is noted on its own.
WORTH_A_LINE = 0.001
# What a dependency may change of its process: filters are put back, and loggers are no harm to a fork.
HIDDEN = ("logging", "warnings")


class Forbidden(BaseException):
    """An import of what is to be left out. No `except Exception` of a dependency may take it."""


class Node:
    """A module that was loaded: the object, what its body cost, and the modules that its execution asked for."""

    def __init__(self, name: str, file: "str | None") -> None:
        self.name: str = name
        self.file: str | None = file
        self.module: Any = None
        self.seconds: float = 0.0
        self.inner: float = 0.0  # of what it imports, and of looking on
        self.memory = 0
        self.asked: dict[str, None] = {}
        self.unfinished: set[str] = set()  # modules it asked for that were themselves being executed
        self.attribute = False
        self.finders: list[Any] = []
        self.exits: list[Callable[[], Any]] = []
        self.functions: dict[str, Any] = {}
        # Once it is shown: what its execution asked for, and what all of that cost.
        self.below: list[Node] = []
        self.whole: float = 0.0

    def every(self) -> "Iterator[Node]":
        """Yield it and what is shown below it."""
        yield self
        for each in self.below:
            yield from each.every()


class Hidden:
    """The modules that are loaded and not to be seen. As a finder it shows those that are asked for."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.base: set[str] = set(sys.modules)
        self.path: list[str] = list(sys.path)
        self.recording: recorder.Recorder | None = None
        self.doubtful: str | None = None
        self.unseen: int = 0

    def hide(self, loaded: "dict[str, Node]") -> None:
        """Take all modules away that the interpreter did not have at its start."""
        taken: dict[str, Node] = {}
        for name in [name for name in sys.modules if name not in self.base]:
            module = sys.modules.pop(name)
            node = taken[name] = self.nodes[name] = loaded.setdefault(name, Node(name, None))
            node.module = module
        for name, node in taken.items():
            above, _, tail = name.rpartition(".")
            package = sys.modules.get(above) or (self.nodes[above].module if above in self.nodes else None)
            names = attributes(package)
            if names.get(tail) is node.module and names.get(tail) is not None:
                node.attribute = True
                del names[tail]
            for finder in node.finders:
                if finder in sys.meta_path:
                    sys.meta_path.remove(finder)

    def show(self, name: str) -> Node:
        """Show a module and what its execution asks for."""
        node = self.nodes.pop(name)
        if any(each in self.nodes for each in node.unfinished):
            self.doubtful = name  # its execution succeeded from within another's: alone it might not
        sys.modules[name] = node.module
        above, _, tail = name.rpartition(".")
        if node.attribute and above in sys.modules:
            attributes(sys.modules[above])[tail] = node.module
        sys.meta_path += node.finders
        node.below = [self.show(each) for each in node.asked if each in self.nodes]
        node.whole = node.seconds + sum(each.whole for each in node.below)
        return node

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """Return the spec of a hidden module."""
        node = self.nodes.get(name)
        if node is None or sys.path[: len(self.path)] != self.path:
            return None
        make = sys.modules["_frozen_importlib"].ModuleSpec
        locations = getattr(node.module, "__path__", None)
        spec = make(name, self, origin=node.file, is_package=locations is not None)
        if locations is not None:
            spec.submodule_search_locations = list(locations)
        return spec

    def create_module(self, spec: "Any") -> None:
        """Leave the making of the module to the import system."""

    def exec_module(self, module: "ModuleType") -> None:
        """Show the hidden module in place of the empty one, and record it as if it had been executed."""
        recording = self.recording
        if recording is None:
            self.show(module.__name__)
            self.doubtful = None  # it is loaded, and not what a child asks for
            return
        recording.begin(module.__name__, self.nodes[module.__name__].file, sys._getframe(1))
        began, spent = recorder._clock(), recording.spent
        shown = self.show(module.__name__)
        recording.charge(began, spent)
        for each in shown.every():
            recording.shown += each.memory
            for register in each.exits:
                register()
        self.unseen = 0
        self.record(recording, shown)
        recording.end(module.__name__, False)
        if self.unseen:
            recording.stream.note("unseen", self.unseen)
        if "threading" in sys.modules:
            recording.watch_threads()

    def record(self, recording: "recorder.Recorder", shown: Node) -> None:
        """Move the child's clock on by what the modules cost when they were loaded; note those that cost much."""
        for each in shown.below:
            if each.whole < WORTH_A_LINE:
                recording.spent -= each.whole
                self.unseen += sum(one.file is not None for one in each.every())
                continue
            began, spent, thread = recorder._clock(), recording.spent, recorder._ident()
            recording.stream.note("begin", began - spent, thread, each.name, each.file, *[None] * 6)
            recording.charge(began, spent)
            self.record(recording, each)
            began, spent = recorder._clock(), recording.spent
            recording.stream.note("end", began - spent, thread, each.name, False)
            recording.charge(began, spent)
        recording.spent -= shown.seconds


class Loader:
    """Loads the dependencies, and watches what each leaves behind."""

    def __init__(self, forbidden: "set[str]", roots: "tuple[str, ...]") -> None:
        self.forbidden: set[str] = forbidden
        self.roots: tuple[str, ...] = roots
        self.nodes: dict[str, Node] = {}
        self.stack: list[Node] = []
        self.present: set[str] = set(sys.modules)
        # Bytes that the modules within the one that is being executed have taken.
        self.within = 0
        self.unsafe: dict[str, str] = {}
        self.on: bool = True
        self.replaced: list[tuple[Any, str, Any]] = []
        self.last: dict[str, Any] = {}
        self.exits: Any = None
        self.finalize: Any = None
        self.warnings: Any = None

    def install(self) -> None:
        """Begin to watch."""
        # Held here: what is hidden later is still to be asked.
        self.exits, self.warnings = map(__import__, ("atexit", "warnings"))
        for owner, name in recorder.loader_methods():
            self._replace(owner, name, self._wrap_loader(getattr(owner, name)))
        self._replace(builtins, "__import__", self._wrap_import(builtins.__import__))
        frozen: Any = sys.modules["_frozen_importlib"]
        self._replace(frozen, "_gcd_import", self._wrap_import_module(frozen._gcd_import))
        self._replace(self.exits, "register", self._wrap_register(self.exits.register))
        sys.addaudithook(self._audit_hook)
        recorder.watch_sleep(lambda event, args, _: self._audit_hook(event, args))
        self.last = self.state()

    def _replace(self, owner: "Any", name: str, value: "Any") -> None:
        self.replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def remove(self) -> None:
        """Watch no more."""
        self.on = False
        for owner, name, value in self.replaced:
            setattr(owner, name, value)

    def _blame(self, reason: str) -> None:
        if self.stack:
            self.unsafe.setdefault(self.stack[-1].name, reason)

    def _audit_hook(self, event: str, args: "tuple[Any, ...]") -> None:
        if self.on and event in recorder.EFFECTS:
            if recorder.EFFECTS[event] != "file-write":
                self._blame(f"does {event} while it is imported")
            elif recorder.written(event, args, sys._getframe(1)) is not None:
                self._blame("writes to the file system while it is imported")

    def warned(self, *args: "Any", **options: "Any") -> None:
        """Stand for `warnings.showwarning`."""
        self._blame("warns while it is imported")

    def _wrap_loader(self, original: "Any") -> "Any":
        def run(self_: "Any", subject: "Any", /) -> "Any":
            name, file = recorder.module_of(subject)
            if name in self.forbidden or (file is not None and recorder.is_first_party(file, self.roots)):
                for node in self.stack:
                    node.unfinished.add(name)
                raise Forbidden(name)
            node = self.nodes.setdefault(name, Node(name, file))
            self._adopt()
            self.stack.append(node)
            node.inner = 0.0
            memory, outer, self.within = process_state.memory("VmRSS"), self.within, 0
            began = recorder._clock()
            try:
                result = original(self_, subject)
                if is_standard(file):
                    node.functions = functions(sys.modules.get(name))
                if any(each in self.forbidden for each in node.unfinished):
                    self.unsafe.setdefault(name, "goes on when an import of it is stopped")
                return result
            finally:
                node.seconds += max(0.0, recorder._clock() - began - node.inner)
                memory = max(0, process_state.memory("VmRSS") - memory)
                node.memory += max(0, memory - self.within)
                self.within = outer + memory
                self._compare(node)
                self._adopt()
                self.stack.pop()
                if self.stack:
                    self.stack[-1].inner += recorder._clock() - began  # with what the comparison took

        return run

    def _adopt(self) -> None:
        """Have what no import has asked for, as what extension modules make, come and go with what made it."""
        if self.stack:
            self.stack[-1].asked.update(dict.fromkeys(sorted(sys.modules.keys() - self.present)))
        self.present.update(sys.modules)

    def _note_asked(self, names: "tuple[str, ...] | list[str]") -> None:
        if not self.stack:
            return
        running = {node.name for node in self.stack[:-1]}
        for name in names:
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                each = ".".join(parts[:count])
                if each in sys.modules and each != self.stack[-1].name:
                    self.stack[-1].asked.setdefault(each)
                    if each in running and not self.stack[-1].name.startswith(each + "."):
                        self.stack[-1].unfinished.add(each)

    def _wrap_import(self, original: "Any") -> "Any":
        frozen: Any = sys.modules["_frozen_importlib"]

        def asked(
            name: str, globals: "Any" = None, locals: "Any" = None, fromlist: "Any" = (), level: int = 0
        ) -> "Any":
            found = original(name, globals, locals, fromlist, level)
            if self.stack and self.on:
                began, whole = recorder._clock(), name
                if level:
                    whole = frozen._resolve_name(name, frozen._calc___package__(globals), level)
                self._note_asked([whole, *(f"{whole}.{each}" for each in fromlist or ())])
                self.stack[-1].inner += recorder._clock() - began
            return found

        return asked

    def _wrap_import_module(self, original: "Any") -> "Any":
        def got(name: str, package: "Any" = None, level: int = 0) -> "Any":
            found = original(name, package, level)
            if self.on:
                self._note_asked([getattr(getattr(found, "__spec__", None), "name", name)])
            return found

        return got

    def _wrap_register(self, original: "Any") -> "Any":
        def register(function: "Any", /, *args: "Any", **kwargs: "Any") -> "Any":
            if not self.on or not self.stack or getattr(function, "__module__", "") == "weakref":
                return original(function, *args, **kwargs)
            self.stack[-1].exits.append(lambda: original(function, *args, **kwargs))  # where the module is shown
            return function

        return register

    def state(self) -> "dict[str, Any]":
        """Return what a module may change of the process beside its own names."""
        return {
            "starts a thread": len(os.listdir("/proc/self/task")),
            "leaves a file or a socket open": os.listdir("/proc/self/fd"),
            "registers an exit function": self.exits._ncallbacks() - self._finalizers(),
            "changes the import system": (list(sys.meta_path), list(map(id, sys.path_hooks))),
            "turns warnings into errors": sum(each[0] == "error" for each in self.warnings.filters),
            "changes the builtins": vars(builtins).copy(),
            "changes the recursion limit": (sys.getrecursionlimit(), sys.setrecursionlimit, sys.getswitchinterval),
            **{f"changes {thing}": each for thing, each in process_state.state().items() if thing not in HIDDEN},
        }

    def _finalizers(self) -> int:
        """Return 1 where weak references alone have registered theirs, and no temporary directory waits for it."""
        made: Any = getattr(sys.modules.get("weakref"), "finalize", None) or self.finalize
        if made is None:
            return 0
        self.finalize = made
        waiting = [getattr(info.func, "__module__", "") for info in list(made._registry.values())]
        needed = any(module.startswith(("tempfile", "shutil", "multiprocessing")) for module in waiting)
        return int(made._registered_with_atexit and not needed)

    def _compare(self, node: Node) -> None:
        now = self.state()
        for reason, value in now.items():
            before = self.last[reason]
            if value != before and before != {}:
                if reason == "changes the import system" and value[1] == before[1]:
                    count = len(before[0])
                    if value[0][:count] == before[0]:
                        node.finders += value[0][count:]  # asked last: hidden and shown with the module
                        continue
                if reason == "registers an exit function" and is_standard(node.file):
                    continue  # those of the standard library know of forks, and do nothing where nothing was used
                self.unsafe.setdefault(node.name, reason)
        self.last = now

    def find_replaced(self) -> None:
        """Find what replaces functions of the standard library: that is unsafe."""
        for node in self.nodes.values():
            for key, value in functions(node.module).items() if node.functions else ():
                other = str(getattr(value, "__module__", ""))
                # typing_extensions puts its own in the place of private functions, which do the same and more.
                replaced = node.functions.get(key, value) is not value and other in self.nodes
                if replaced and other not in ("typing_extensions", node.name):
                    self.unsafe.setdefault(other, f"replaces {node.name}.{key}")


def attributes(package: "Any") -> "dict[str, Any]":
    """Return what holds the attributes of a package.

    What stands for a package in sys.modules may let nothing be set or deleted, as that of twisted.python.deprecate.
    """
    found = getattr(package, "__dict__", None)
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def is_standard(file: "str | None") -> bool:
    """Return whether a file is of the standard library."""
    return file is None or (
        file.startswith(os.path.dirname(os.__file__) + "/")
        and "/site-packages/" not in file
        and "-packages/" not in file
    )


def functions(module: "Any") -> "dict[str, Any]":
    """Return the functions and classes in a module."""
    return {key: value for key, value in list(getattr(module, "__dict__", {}).items()) if callable(value)}


def load(file: str, hidden: Hidden, loader: Loader, report: "Callable[..., object]") -> None:
    """Load what the file lists, and hide it; `report` what is being loaded, and what is left out."""
    import warnings

    with open(file, encoding="utf-8") as given:
        rows = [line.rstrip("\n").split("\t") for line in given]
    loader.install()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = loader.warned
        for name, *names in rows:
            report("loading", name)
            known, began, waited = set(loader.nodes), recorder._clock(), child.queued()
            try:
                __import__(name, {}, {}, names)
            except BaseException as error:
                if isinstance(error, Forbidden):
                    report("left", name, f"needs {error}")
                elif isinstance(error, ModuleNotFoundError):
                    report("missing", error.name)
                else:
                    report("left", name, f"cannot be loaded there: {type(error).__name__}")
            # What they waited for a processor is no cost of theirs.
            part = max(0.0, 1.0 - (child.queued() - waited) / max(1e-9, recorder._clock() - began))
            for each in loader.nodes.keys() - known:
                loader.nodes[each].seconds *= part
            hidden.hide(loader.nodes)
            loader.last = loader.state()
    loader.remove()
    hidden.hide(loader.nodes)
    loader.find_replaced()
