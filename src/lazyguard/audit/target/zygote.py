"""What runs in the audited interpreter to fork children that find their dependencies loaded.

Invariants: `child.py` runs this in place of itself, with itself as `child`; the frames count as the import system's.
No first-party module is run in the zygote. After each dependency all that it loaded is hidden again: taken out of
sys.modules and out of its package. A forked child thus begins with the modules of a fresh interpreter; an import that
asks for a hidden module gets it, and with it what its execution imports, nothing else. What leaves more behind than
modules (a thread, a file, an exit function, a patched function, a warning) is told as unsafe, and is left out.
"""

import builtins
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from lazyguard.audit.target import child  # noqa: TC004 -- child.py puts itself there

MARKER = "LAZYGUARD_AUDIT_CHILD"
WORTH_A_LINE = 0.001
HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook", "getswitchinterval", "setrecursionlimit")


class Forbidden(BaseException):
    """An import of what is to be left out; no `except Exception` of a dependency may take it."""


class Node:
    """A module that was loaded: the object, what its body cost, and the modules that its execution asked for."""

    def __init__(self, name: str, file: "str | None") -> None:
        self.name: str = name
        self.file: str | None = file
        self.module: Any = None
        self.seconds: float = 0.0
        self.asked: dict[str, None] = {}
        self.unfinished: set[str] = set()  # modules it asked for that were themselves being executed: a ring
        self.attribute = False
        self.finders: list[Any] = []
        self.functions: dict[str, Any] = {}


class Hidden:
    """The modules that are loaded and not to be seen; as a finder it shows those that are asked for."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.base: set[str] = set(sys.modules)
        self.path: list[str] = list(sys.path)
        self.recorder: child.Recorder | None = None
        self.doubtful: str | None = None
        self.unseen: int = 0

    def hide(self, known: "dict[str, Node]") -> None:
        taken: dict[str, Node] = {}
        for name in [name for name in sys.modules if name not in self.base]:
            module = sys.modules.pop(name)
            node = taken[name] = self.nodes[name] = known.setdefault(name, Node(name, None))
            node.module = module
        for name, node in taken.items():
            above, _, tail = name.rpartition(".")
            package = sys.modules.get(above) or (self.nodes[above].module if above in self.nodes else None)
            names = getattr(package, "__dict__", {})
            if names.get(tail) is node.module and names.get(tail) is not None:
                node.attribute = True
                delattr(package, tail)
            for finder in node.finders:
                if finder in sys.meta_path:
                    sys.meta_path.remove(finder)

    def show(self, name: str) -> "tuple[Node, float, list[Any]]":
        """Shows a module and what its execution asks for; returns the tree of it with the seconds of each."""
        node = self.nodes.pop(name)
        if any(each in self.nodes for each in node.unfinished):
            self.doubtful = name  # its execution succeeded from within another's: alone it might not
        sys.modules[name] = node.module
        above, _, tail = name.rpartition(".")
        if node.attribute and above in sys.modules:
            setattr(sys.modules[above], tail, node.module)
        sys.meta_path += node.finders
        below = [self.show(each) for each in node.asked if each in self.nodes]
        return node, node.seconds + sum(each[1] for each in below), below

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
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
        return None

    def exec_module(self, module: "ModuleType") -> None:
        recorder = self.recorder
        began = child._clock()
        shown = self.show(module.__name__)
        if recorder is None:
            return
        recorder.spent += child._clock() - began
        recorder.begin(module.__name__, shown[0].file, sys._getframe(1))
        self.unseen = 0
        self.tell(recorder, shown)
        recorder.end(module.__name__, False)
        if self.unseen:
            recorder.stream.note("unseen", self.unseen)
        if "threading" in sys.modules:
            recorder._watch_threads()

    def tell(self, recorder: "child.Recorder", shown: "tuple[Node, float, list[Any]]") -> None:
        """Moves the child's clock on by what the modules cost when they were loaded, and writes down the dear ones."""
        node, _, below = shown
        for each in below:
            if each[1] < WORTH_A_LINE:
                recorder.spent -= each[1]
                self.unseen += size(each)
                continue
            began, thread = child._clock(), child._ident()
            recorder.stream.note("begin", recorder.now(), thread, each[0].name, each[0].file, None, None, None, None)
            recorder.spent += child._clock() - began
            self.tell(recorder, each)
            began, at = child._clock(), recorder.now()
            recorder.stream.note("end", at, thread, each[0].name, False)
            recorder.spent += child._clock() - began
        recorder.spent -= node.seconds


def size(shown: "tuple[Node, float, list[Any]]") -> int:
    """Returns how many modules of a tree were executed from a file."""
    return (shown[0].file is not None) + sum(size(each) for each in shown[2])


class Loader:
    """Loads the dependencies, and watches what each leaves behind."""

    def __init__(self, forbidden: "set[str]", roots: "tuple[str, ...]") -> None:
        self.forbidden: set[str] = forbidden
        self.roots: tuple[str, ...] = roots
        self.nodes: dict[str, Node] = {}
        self.stack: list[Node] = []
        self.inner: list[float] = []
        self.unsafe: dict[str, str] = {}
        self.on: bool = True
        self.undo: list[tuple[Any, str, Any]] = []
        self.last: dict[str, Any] = {}
        self.signals: Any = None
        self.exits: Any = None
        self.finalize: Any = None
        self.warnings: Any = None

    def install(self) -> None:
        external = sys.modules["_frozen_importlib_external"]
        # Held here: what is hidden later is to be asked all the same.
        self.signals, self.exits, self.warnings = map(__import__, ("_signal", "atexit", "warnings"))
        for owner, name in (
            (external._LoaderBasics, "exec_module"),
            (external.ExtensionFileLoader, "create_module"),
            (external.ExtensionFileLoader, "exec_module"),
        ):
            self._put(owner, name, self._executing(getattr(owner, name)))
        self._put(builtins, "__import__", self._asking(builtins.__import__))
        frozen: Any = sys.modules["_frozen_importlib"]
        self._put(frozen, "_gcd_import", self._getting(frozen._gcd_import))
        sys.addaudithook(self._heard)
        child.watch_sleep(lambda event, args, _: self._heard(event, args))
        self.last = self.state()

    def _put(self, owner: "Any", name: str, value: "Any") -> None:
        self.undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def remove(self) -> None:
        self.on = False
        for owner, name, value in self.undo:
            setattr(owner, name, value)

    def _blame(self, reason: str) -> None:
        if self.stack:
            self.unsafe.setdefault(self.stack[-1].name, reason)

    def _heard(self, event: str, args: "tuple[Any, ...]") -> None:
        if self.on and event in child.EFFECTS:
            if child.EFFECTS[event] != "file-write":
                self._blame(f"does {event} while it is imported")
            elif child.written(event, args, sys._getframe(1)) is not None:
                self._blame("writes to the file system while it is imported")

    def warned(self, *args: "Any", **options: "Any") -> None:
        self._blame("warns while it is imported")

    def _executing(self, original: "Any") -> "Any":
        def run(self_: "Any", subject: "Any", /) -> "Any":
            spec = getattr(subject, "__spec__", subject)
            name: str = getattr(subject, "__name__", None) or spec.name
            file: str | None = getattr(spec, "origin", None)
            if name in self.forbidden or (file is not None and child.is_first_party(file, self.roots)):
                for node in self.stack:
                    node.unfinished.add(name)
                raise Forbidden(name)
            node = self.nodes.setdefault(name, Node(name, file))
            self.stack.append(node)
            self.inner.append(0.0)
            began = child._clock()
            try:
                result = original(self_, subject)
                if is_standard(file):
                    node.functions = functions(sys.modules.get(name))
                if any(each in self.forbidden for each in node.unfinished):
                    self.unsafe.setdefault(name, "goes on when an import of it is stopped")
                return result
            finally:
                node.seconds += max(0.0, child._clock() - began - self.inner.pop())
                self._compare(node)
                self.stack.pop()
                if self.inner:
                    self.inner[-1] += child._clock() - began  # with what the comparison took

        return run

    def _ask(self, names: "tuple[str, ...] | list[str]") -> None:
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

    def _asking(self, original: "Any") -> "Any":
        frozen: Any = sys.modules["_frozen_importlib"]

        def asked(
            name: str, globals: "Any" = None, locals: "Any" = None, fromlist: "Any" = (), level: int = 0
        ) -> "Any":
            found = original(name, globals, locals, fromlist, level)
            if self.stack and self.on:
                began, whole = child._clock(), name
                if level:
                    whole = frozen._resolve_name(name, frozen._calc___package__(globals), level)
                self._ask([whole, *(f"{whole}.{each}" for each in fromlist or ())])
                self.inner[-1] += child._clock() - began
            return found

        return asked

    def _getting(self, original: "Any") -> "Any":
        def got(name: str, package: "Any" = None, level: int = 0) -> "Any":
            found = original(name, package, level)
            if self.on:
                self._ask([getattr(getattr(found, "__spec__", None), "name", name)])
            return found

        return got

    def state(self) -> "dict[str, Any]":
        """Returns what a module may change of the process beside its own names."""
        return {
            "starts a thread": len(os.listdir("/proc/self/task")),
            "leaves a file or a socket open": os.listdir("/proc/self/fd"),
            "registers an exit function": self.exits._ncallbacks() - self._finalizers(),
            "changes sys.path": list(sys.path),
            "changes the import system": (list(sys.meta_path), list(map(id, sys.path_hooks))),
            "changes the environment": dict(os.environ._data),  # type: ignore[attr-defined]
            "changes the directory": os.getcwd(),
            "sets a signal handler": [self.signals.getsignal(each) for each in range(1, 32)],
            "turns warnings into errors": sum(each[0] == "error" for each in self.warnings.filters),
            "changes the builtins": vars(builtins).copy(),
            "changes a hook of sys": [id(getattr(sys, name)) for name in HOOKS] + [sys.getrecursionlimit()],
        }

    def _finalizers(self) -> int:
        """Returns 1 where weak references alone have registered theirs, and no temporary directory waits for it."""
        made: Any = getattr(sys.modules.get("weakref"), "finalize", None) or self.finalize
        if made is None:
            return 0
        self.finalize = made
        waiting = [info.func for info in list(made._registry.values())]
        dear = any(
            getattr(each, "__module__", "").startswith(("tempfile", "shutil", "multiprocessing")) for each in waiting
        )
        return int(made._registered_with_atexit and not dear)

    def _compare(self, node: Node) -> None:
        now = self.state()
        for reason, value in now.items():
            before = self.last[reason]
            if value != before:
                if reason == "changes the import system" and value[1] == before[1]:
                    count = len(before[0])
                    if value[0][:count] == before[0]:
                        node.finders += value[0][count:]  # asked last: hidden and shown with the module
                        continue
                if reason == "registers an exit function" and is_standard(node.file):
                    continue  # those of the standard library know of forks, and do nothing where nothing was used
                self.unsafe.setdefault(node.name, reason)
        self.last = now


def is_standard(file: "str | None") -> bool:
    return file is None or (
        file.startswith(os.path.dirname(os.__file__) + "/")
        and "/site-packages/" not in file
        and "-packages/" not in file
    )


def functions(module: "Any") -> "dict[str, Any]":
    """Returns the functions and classes in a module."""
    return {key: value for key, value in list(getattr(module, "__dict__", {}).items()) if callable(value)}


def load(file: str, hidden: Hidden, loader: Loader, tell: "Any") -> None:
    """Loads what the file lists, and hides it."""
    import warnings

    with open(file, encoding="utf-8") as given:
        rows = [line.rstrip("\n").split("\t") for line in given]
    loader.install()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = loader.warned
        for name, *names in rows:
            tell("loading", name)
            try:
                __import__(name, {}, {}, names)
            except BaseException as error:
                if isinstance(error, Forbidden):
                    tell("left", name, f"needs {error}")
                elif not isinstance(error, ModuleNotFoundError):
                    tell("left", name, f"cannot be loaded there: {type(error).__name__}")
            hidden.hide(loader.nodes)
            loader.last = loader.state()
    loader.remove()
    hidden.hide(loader.nodes)
    for node in loader.nodes.values():
        for key, value in functions(node.module).items() if node.functions else ():
            other = str(getattr(value, "__module__", ""))
            # typing_extensions puts its own in the place of private functions, which do the same and more.
            replaced = node.functions.get(key, value) is not value and other in loader.nodes
            if replaced and other not in ("typing_extensions", node.name):
                loader.unsafe.setdefault(other, f"replaces {node.name}.{key}")


class Marker:
    """The marker in the environment that /proc shows: a forked process has its parent's, unless it is written over."""

    def __init__(self) -> None:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            began = int(file.read().rpartition(")")[2].split()[47])
        with open("/proc/self/environ", "rb") as file:
            entries = b"\0" + file.read()
        self.place: int = began + entries.index(f"\0{MARKER}=".encode()) + len(MARKER) + 1

    def write(self, token: str) -> None:
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        os.pwrite(memory, token.encode("ascii"), self.place)
        os.close(memory)
        os.environ[MARKER] = token


class Kept:
    """A stream that keeps what is noted: what the packages above a module did, for the children that come of them."""

    def __init__(self) -> None:
        self.process: int = os.getpid()
        self.lines: bytes = b""

    def note(self, *fields: "Any") -> None:
        if os.getpid() == self.process:
            self.lines += (child.encode(fields) + "\n").encode("ascii")

    send = note


class Server:
    """Answers the audit: forks children, and processes that hold a package which was imported."""

    def __init__(self, hidden: Hidden, roots: "tuple[str, ...]") -> None:
        self.hidden: Hidden = hidden
        self.roots: tuple[str, ...] = roots
        self.marker: Marker = Marker()
        self.recorder: child.Recorder | None = None
        self.began: float = 0.0
        self.paused: float = 0.0
        self.children: set[int] = set()
        self.down: int = -1
        self.up: int = -1

    def open(self, directory: str) -> None:
        """Takes the audit's pipes of this process."""
        for old in (self.up, self.down):
            if old >= 0:
                os.close(old)
        self.up = child.out_of_the_way(os.open(directory + "/up", os.O_WRONLY | os.O_CLOEXEC))
        self.down = child.out_of_the_way(os.open(directory + "/down", os.O_RDONLY | os.O_CLOEXEC))

    def tell(self, *fields: "Any") -> None:
        os.write(self.up, (child.encode(fields) + "\n").encode("ascii"))

    def serve(self) -> None:
        """Answers until the audit has gone; in a forked child it does not return."""
        text = b""
        while True:
            read = os.read(self.down, 1 << 16)
            if not read:
                break
            text += read
            while b"\n" in text:
                line, _, text = text.partition(b"\n")
                verb, *words = line.decode("utf-8", "surrogateescape").split("\t")
                if verb == "reap":
                    self.reap(int(words[0]))
                else:
                    self.fork(verb, *words)
        for pid in self.children:
            try:
                os.killpg(pid, 9)
            except OSError:
                continue
        child._exit(0)

    def reap(self, pid: int) -> None:
        _, status, usage = os.wait4(pid, 0)
        self.children.discard(pid)
        self.tell(status, usage.ru_utime + usage.ru_stime)

    def fork(self, verb: str, directory: str, token: str, module: str, timeout: str) -> None:
        pipes = self.up, self.down
        self.up = self.down = -1
        self.open(directory)
        pid = os.fork()
        if pid:
            os.close(self.up)
            os.close(self.down)
            self.up, self.down = pipes
            self.children.add(pid)
            self.tell(pid)
            return
        self.children = set()
        for each in pipes:
            os.close(each)
        os.setsid()
        self.marker.write(token)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        for number, (name, how) in enumerate((("/dev/null", os.O_RDONLY), ("/out", flags), ("/err", flags))):
            file = os.open(name if number == 0 else directory + name, how, 0o600)
            os.dup2(file, number)
            os.close(file)
        if verb == "hold":
            self.hold(module)
        else:
            self.run(directory, module, float(timeout))

    def continued(self, stream: "Any") -> "child.Recorder":
        """Returns a recorder whose clock goes on where that of the packages above has stopped."""
        recorder = self.recorder
        if recorder is None:
            recorder = self.recorder = self.hidden.recorder = child.Recorder(stream, self.roots)
            recorder.install()
            recorder.spent = 0.0
            self.began = child._clock()
        else:
            recorder.stream = stream
            recorder.spent += child._clock() - self.paused
        return recorder

    def hold(self, package: str) -> None:
        """Imports a package, and answers in its state."""
        before = loose()
        earlier = self.recorder.stream.lines if self.recorder is not None else b""  # type: ignore[attr-defined]
        kept = Kept()
        kept.lines = earlier
        recorder = self.continued(kept)
        try:
            __import__(package)
        except BaseException:
            child._exit(1)
        self.paused = child._clock()
        seconds = recorder.now() - self.began
        self.tell("holds", seconds, loose() == before and self.hidden.doubtful is None)
        kept.process = -1
        self.serve()

    def run(self, directory: str, module: str, timeout: float) -> None:
        kept = self.recorder.stream if self.recorder is not None else None
        stream = child.Stream(self.up, directory, self.down)
        if kept is not None:
            os.write(stream.events.descriptor, kept.lines)  # type: ignore[attr-defined]
        recorder = self.continued(stream)
        stream.send("start", self.began, child._ident())
        problem: list[Any] | None = None
        try:
            __import__(module)
        except BaseException as error:
            taken = recorder.now() - self.began
            problem = recorder.explain(error)
        else:
            taken = recorder.now() - self.began
        if self.hidden.doubtful is not None:
            stream.send("doubtful", self.hidden.doubtful)
        child.leave(recorder, taken, problem, timeout)


def loose() -> "tuple[int, int, int]":
    """Returns the numbers of threads, of open files and of children: what a fork cannot take along, or shares."""
    pid = os.getpid()
    with open(f"/proc/self/task/{pid}/children", encoding="ascii") as file:
        children = len(file.read().split())
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), children


def main(argv: "list[str]") -> None:
    """Runs `child.py zygote DIRECTORY PATH STATEMENTS FORBIDDEN ROOT...`: loads, says ready, forks until the end."""
    directory, path, candidates, forbidden, *roots = argv
    kept = child.settle(path)
    hidden = Hidden()
    server = Server(hidden, tuple(roots))
    server.open(directory)
    hidden.base = set(sys.modules)
    hidden.path = list(sys.path)
    sys.meta_path.insert(0, hidden)
    loader = Loader(set(filter(None, forbidden.split(","))), tuple(roots))
    load(candidates, hidden, loader, server.tell)
    if loader.unsafe:
        server.tell("unsafe", *[part for item in loader.unsafe.items() for part in item])
        child._exit(0)
    gc.collect()
    gc.freeze()
    server.tell("ready", len(hidden.nodes))
    server.serve()
    del kept
