"""What an import does, as it is seen from inside: which modules run from when to when, and their side effects.

Invariants: imports only what every interpreter has loaded at its start, or has built in. Nothing is raised into the
audited code. What is spent on recording is taken off the times. References to what is called are kept here, since the
audited code may patch the originals. Frames of this file count as the import system's.
"""

import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, NoReturn

    from lazyguard.audit.target import process_state
    from lazyguard.audit.target.stream import Stream

IMPORT_SYSTEM = "<frozen importlib"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
# Where lazyguard's own threads begin, and are started.
LAZYGUARD = "/lazyguard/_core/"
REVERSE = ("socket.gethostbyaddr", "socket.getnameinfo")
# By the audit event: what is written to the file system.
WRITES = {
    "open": "opens {} for writing",
    "os.mkdir": "makes the directory {}",
    "os.rename": "renames {}",
    "os.remove": "removes {}",
    "os.rmdir": "removes the directory {}",
    "os.link": "links {}",
    "os.symlink": "links {}",
    "os.truncate": "truncates {}",
}
# Whether the path must be there for it, by the audit event: else it fails, and writes nothing.
MISSING_OR_THERE = {"os.mkdir": False, **dict.fromkeys(("os.rename", "os.remove", "os.rmdir", "os.truncate"), True)}
# By the audit event: the kind of side effect.
EFFECTS = {
    "socket.connect": "connect",
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", *REVERSE), "dns"),
    **dict.fromkeys(("subprocess.Popen", "os.posix_spawn", "os.system", "os.fork", "os.forkpty"), "subprocess"),
    **dict.fromkeys(("_thread.start_new_thread", "_thread.start_joinable_thread"), "thread"),
    **dict.fromkeys(WRITES, "file-write"),
    "builtins.input": "input",
    "os.exec": "exec",
    "os.kill": "kill",
    "time.sleep": "sleep",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MOST_EFFECTS, MOST_FRAMES, LONGEST_TEXT = 1000, 200, 2000
# Frames that recording takes at the end of a chain of imports.
DEPTH = 20
# Sleeps and writes of one line that are recorded, so that a loop does not use up `MOST_EFFECTS`.
MOST_OF_A_LINE = 20

_clock = time.perf_counter
_getpid, _exit = os.getpid, os._exit
_getframe, _ident = sys._getframe, _thread.get_ident
_sleep, _fsdecode = time.sleep, os.fsdecode


def is_first_party(file: str, roots: "tuple[str, ...]") -> bool:
    """Return whether the file belongs to a root: a file, or a directory that ends in a slash.

    What is installed below a root (a virtual environment within a package) does not.
    """
    for root in roots:
        if file == root:
            return True
        if root.endswith("/") and file.startswith(root):
            below = file[len(root) - 1 :]
            return "/site-packages/" not in below and "/dist-packages/" not in below
    return False


def is_machinery(file: str) -> bool:
    """Return whether frames of this file are the import system's or the child's own."""
    return file.startswith(IMPORT_SYSTEM) or file == PROGRAM or file.endswith("/importlib/__init__.py")


def outwards(frame: "FrameType | None") -> "Iterator[FrameType]":
    """Yield a frame and those that called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def place_of(frame: "FrameType | None") -> "list[Any]":
    """Return file and line of the nearest frame outside the import system."""
    for each in outwards(frame):
        if not is_machinery(each.f_code.co_filename):
            return [each.f_code.co_filename, each.f_lineno]
    return [None, None]


def in_background(frame: "FrameType | None", importing: int) -> bool:
    """Return whether lazyguard does it for itself: starts a thread of its own, or works on one in the background.

    That is what `preload` and the like are for. Where the import waits for what such a thread does, it is the import's.
    """
    files = [each.f_code.co_filename for each in outwards(frame)]
    files = [each for each in files if not each.endswith("/threading.py")]
    if files and LAZYGUARD in files[0]:
        return True
    if not files or LAZYGUARD not in files[-1] or _ident() == importing:
        return False
    waiting = sys._current_frames().get(importing)
    return not any(LAZYGUARD in each.f_code.co_filename for each in outwards(waiting))


def loader_methods() -> "list[tuple[Any, str]]":
    """Return the methods by which the import system creates and executes modules, each with its class."""
    external = sys.modules["_frozen_importlib_external"]
    extensions = external.ExtensionFileLoader
    return [(external._LoaderBasics, "exec_module"), (extensions, "create_module"), (extensions, "exec_module")]


def module_of(subject: "Any") -> "tuple[str, str | None]":
    """Return name and file of what a loader's method is given: a module, or its spec."""
    spec = getattr(subject, "__spec__", subject)
    return getattr(subject, "__name__", None) or spec.name, getattr(spec, "origin", None)


def written(event: str, args: "tuple[Any, ...]", frame: "FrameType | None") -> "str | None":
    """Return what an audit event writes to the file system; None for reading, byte code, the null device, what fails.

    A program that makes sure of its directory at each start makes none.
    """
    path = args[0]
    if not isinstance(path, (str, bytes)) or (event == "open" and not (args[2] or 0) & WRITING):
        return None
    name = _fsdecode(path)
    code = frame.f_code if frame is not None else written.__code__
    if code.co_filename.startswith(IMPORT_SYSTEM) or code.co_filename == PROGRAM or name == "/dev/null":
        return None
    if code.co_name == "_get_default_tempdir":
        return None  # tempfile tries whether it can, and takes it back
    if ".pyc" in name or name.rstrip("/").endswith("__pycache__"):
        return None
    if event in MISSING_OR_THERE and os.path.lexists(path) != MISSING_OR_THERE[event]:
        return None
    return WRITES[event].format(name)


class Sleep:
    """Stands for `time.sleep`, which no audit event announces before 3.13. An attribute of a class, it is not bound."""

    __module__ = "time"
    __name__: str = "sleep"
    hook: "Callable[[str, tuple[Any, ...], FrameType | None], object] | None" = None

    def __call__(self, seconds: "Any", /) -> None:
        hook = Sleep.hook
        if hook is not None:
            hook("time.sleep", (seconds,), _getframe().f_back)  # none where a thread begins with it
        _sleep(seconds)

    def __reduce__(self) -> str:
        return "sleep"


def watch_sleep(hook: "Callable[[str, tuple[Any, ...], FrameType | None], object] | None") -> None:
    """Report sleeps to a hook as an audit event would."""
    if sys.version_info < (3, 13):
        Sleep.hook = hook
        if time.sleep is _sleep:
            time.sleep = Sleep()


class Recorder:
    """Writes to the stream which module runs from when to when, and what it does meanwhile."""

    def __init__(self, stream: "Stream", roots: "tuple[str, ...]") -> None:
        self.stream: Stream = stream
        self.roots: tuple[str, ...] = roots
        self.importing: int = _ident()
        self.spent: float = 0.0
        self.effects: int = 0
        self.limit: int = 0
        self.done: bool = False
        self.own_files: dict[str, bool] = {}
        self.inside: dict[int, list[bool]] = {}
        self.lines: dict[tuple[Any, ...], int] = {}
        self.watch: process_state.Watch = process_state.Watch()
        self.memory: int = process_state.memory("VmRSS")
        # Bytes of what a fork finds loaded.
        self.shown: int = 0
        self.acts: dict[tuple[str, str], list[Any]] = {}

    def now(self) -> float:
        """Return the time without what was spent on recording."""
        return _clock() - self.spent

    def charge(self, began: float, spent: float) -> None:
        """Take off the times what the importing thread has spent on recording; what others spend runs beside it.

        `spent` is what had been spent when that `began`: what was recorded amid it is part of it, and counts once.
        """
        if _ident() == self.importing:
            self.spent = spent + _clock() - began

    def owns(self, file: str) -> bool:
        """Return whether a file is first-party."""
        answer = self.own_files.get(file)
        if answer is None:
            answer = self.own_files[file] = is_first_party(file, self.roots)
        return answer

    def places(self, frame: "FrameType | None", search: bool) -> "list[Any]":
        """Return file and line of the nearest frame outside the import system, then of the nearest first-party one.

        Where that is in a function, the line of a first-party module's body that led to it follows. Without `search`
        the second is that of the first, or unknown.
        """
        near = place_of(frame)
        own: list[Any] = []
        for each in outwards(frame):
            file = each.f_code.co_filename
            if self.owns(file) and not is_machinery(file):
                body = each.f_code.co_name == "<module>"
                if body or not own:
                    own += [file, each.f_lineno]
                if body:
                    break
            elif not search and not own and not is_machinery(file):
                break
        return [*near, *own, None, None, None, None][:6]

    def begin(self, name: str, file: "str | None", frame: "FrameType | None") -> None:
        """Note that a module begins to execute."""
        began, spent = _clock(), self.spent
        thread = _ident()
        stack = self.inside.setdefault(thread, [])
        outermost = not stack or stack[-1]
        own = file is not None and self.owns(file)
        stack.append(own)
        if thread == self.importing:
            self.watch.begin(file if own else None)
        else:
            self.watch.import_beside(1)
        places = self.places(frame, outermost)
        self.stream.note("begin", began - spent, thread, name, file, *places)
        self.charge(began, spent)

    def end(self, name: str, failed: bool) -> None:
        """Note that a module has been executed."""
        began, spent, thread = _clock(), self.spent, _ident()
        if self.inside.get(thread):
            self.inside[thread].pop()
        if thread == self.importing:
            self.changed(*self.watch.end(), began - spent)
        else:
            self.watch.import_beside(-1)
        self.stream.note("end", began - spent, thread, name, failed)
        self.charge(began, spent)

    def changed(self, file: "str | None", names: "list[tuple[str, str]]", at: float) -> None:
        """Note what the body of a module has changed of the process, with the line where an event has told it."""
        things: dict[tuple[Any, ...], list[str]] = {}
        for thing, name in names:
            things.setdefault((thing, *self.acts.get((thing, name), (file, None))), []).append(name)
        for place, members in things.items():
            self.stream.note("state", at, *place, " ".join(sorted(filter(None, members))))

    def effect(self, kind: str, detail: str, frame: "FrameType | None") -> None:
        """Note a side effect, with the places that it came from."""
        if self.done or self.effects >= MOST_EFFECTS:
            return
        began, spent = _clock(), self.spent
        places = self.places(frame, True)
        count = 0 if not in_background(frame, self.importing) else MOST_EFFECTS
        if kind in ("sleep", "file-write") and not count:
            line = (kind, *places[:2])
            count = self.lines[line] = self.lines.get(line, 0) + 1
        if count <= MOST_OF_A_LINE:
            self.effects += 1
            self.stream.note("effect", began - spent, _ident(), kind, detail[:LONGEST_TEXT], *places)
        self.charge(began, spent)

    def audit_hook(self, event: str, args: "tuple[Any, ...]", frame: "FrameType | None" = None) -> None:
        """Note what an audit event says. Programs are named by their first word only: the rest may hold passwords."""
        kind = EFFECTS.get(event)
        if (kind is None and event not in process_state.ACTS) or self.done:
            return
        try:
            if kind is None:
                name = _fsdecode(args[0]) if event != "os.chdir" else ""
                *_, site, line, _, _ = self.places(frame or _getframe(1), True)
                if site is not None:
                    self.acts[process_state.ACTS[event], name] = [site, line]
                return
            detail = event
            frame = frame or _getframe(1)
            if kind == "file-write":
                text = written(event, args, frame)
                if text is None:
                    return
                detail = text
            elif kind == "sleep":
                if frame.f_globals.get("__name__") == "subprocess":
                    return  # it waits for a program, which has been noted
                detail = repr(float(args[0]))
            elif kind == "connect":
                address = args[1]
                detail = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
            elif kind == "dns":
                host = args[0][0] if isinstance(args[0], tuple) else args[0]
                detail = f"the name of {host}" if event in REVERSE else str(host)
            elif kind == "thread":
                detail = str(getattr(getattr(args[0], "__self__", None), "name", None) or args[0])
            elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
                detail = os.fsdecode(args[0] or (args[1] if isinstance(args[1], (str, bytes)) else args[1][0]))
            elif event == "os.system":
                detail = (os.fsdecode(args[0]).split() or [""])[0]
            elif kind == "kill":
                if args[0] not in (0, self.stream.process):
                    return
                detail = str(int(args[1]))
            self.effect(kind, detail, frame)
        except Exception:
            return

    def install(self) -> None:
        """Begin to watch imports and side effects."""
        for loader, method in loader_methods():
            self._wrap(loader, method)
        self._watch_unfinished()
        sys.addaudithook(self.audit_hook)
        watch_sleep(self.audit_hook)
        os._exit = self.leave
        if "threading" in sys.modules:
            self.watch_threads()

    def _wrap(self, loader: "Any", method: str) -> None:
        original: Callable[[Any, Any], Any] = getattr(loader, method)

        def run(self_: "Any", subject: "Any", /) -> "Any":
            name, file = module_of(subject)
            self.deepen(1)
            self.begin(name, file, _getframe(1))
            failed = True
            try:
                result = original(self_, subject)
                failed = False
            finally:
                self.end(name, failed)
                self.deepen(-1)
                if name == "threading":
                    self.watch_threads()
            return result

        setattr(loader, method, run)

    def deepen(self, frames: int) -> None:
        """Allow for the frames of our own in a chain of imports, unless the audited code has set a limit."""
        if sys.getrecursionlimit() == self.limit:
            self.limit += frames
            sys.setrecursionlimit(self.limit)

    def _watch_unfinished(self) -> None:
        """Watch what the import system does with a module that it finds unfinished: it asks for the lock of it."""
        system: Any = sys.modules["_frozen_importlib"]
        original = system._lock_unlock_module
        modules = sys.modules

        def locked(name: str) -> "Any":
            module = modules.get(name)
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                self.unfinished(name, module, _getframe(1))
            return original(name)

        system._lock_unlock_module = locked

    def unfinished(self, name: str, module: "Any", frame: "FrameType | None") -> None:
        """Note that a module was asked for before it was done, and which names of the asking code it does not have."""
        began, spent = _clock(), self.spent
        try:
            near, line = place_of(frame)
            while frame is not None and frame.f_code.co_filename != near:
                frame = frame.f_back
            mark = ("circular", name, near, line)
            if not self.done and frame is not None and mark not in self.lines and len(self.lines) < MOST_EFFECTS:
                self.lines[mark] = 1
                has = module.__dict__
                names = () if "__getattr__" in has else frame.f_code.co_names
                unbound = [each for each in names if each not in has][:MOST_FRAMES]
                self.stream.note("circular", began - spent, _ident(), name, near, line, unbound)
        except Exception:
            pass
        self.charge(began, spent)

    def watch_threads(self) -> None:
        """Watch `Thread.start`: before 3.12 no audit event says that a thread starts."""
        thread: Any = getattr(sys.modules["threading"], "Thread", None)
        if sys.version_info >= (3, 12) or thread is None or thread.start.__name__ == "noted_start":
            return
        original = thread.start

        def noted_start(self_: "Any") -> None:
            self.effect("thread", str(getattr(self_, "name", "")), _getframe(1))
            original(self_)

        thread.start = noted_start

    def leave(self, status: int) -> "NoReturn":
        """Stand for `os._exit`, which no audit event announces."""
        self.effect("exit", str(status), _getframe(1))
        _exit(status)

    def waited_for(self) -> "list[Any]":
        """Return name, file and line of each thread that a process waits for before it ends."""
        threading: Any = sys.modules.get("threading")
        if threading is None:
            return []
        running = sys._current_frames()
        waited = [each for each in threading.enumerate() if not each.daemon and each.ident != _ident()]
        return [[each.name, *self.places(running.get(each.ident), True)[:4]] for each in waited]
