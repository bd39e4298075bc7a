"""What runs in the audited interpreter: imports one module and streams what happens meanwhile.

Invariants: this file alone, with nothing of lazyguard beside it, works on Python 3.10 to 3.15. It imports only what
every interpreter has loaded at its start, or has built in, so that nothing of its own is taken off the target's bill
(not even `__future__`). Each line it sends is a JSON array. What it spends on sending is taken off the times that it
sends. It never raises into the audited code, and says nothing from a forked copy of itself. It keeps its own
references to what it calls, as the audited code may patch the originals.
"""

import _thread
import faulthandler
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

IMPORT_SYSTEM = "<frozen importlib"
HERE = os.path.abspath(__file__)
EFFECTS = {
    "socket.connect": "connect",
    "socket.getaddrinfo": "dns",
    "socket.gethostbyname": "dns",
    "subprocess.Popen": "subprocess",
    "os.posix_spawn": "subprocess",
    "os.system": "subprocess",
    "os.fork": "subprocess",
    "os.forkpty": "subprocess",
    "_thread.start_new_thread": "thread",
    "_thread.start_joinable_thread": "thread",
    "builtins.input": "input",
    "os.exec": "exec",
    "os.kill": "kill",
    "time.sleep": "sleep",
    "open": "file-write",
    "os.mkdir": "file-write",
    "os.rename": "file-write",
    "os.remove": "file-write",
    "os.rmdir": "file-write",
    "os.link": "file-write",
    "os.symlink": "file-write",
    "os.truncate": "file-write",
}
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
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HIGH = 900
MOST_EFFECTS, MOST_FRAMES, LONGEST_TEXT = 1000, 200, 2000
MOST_OF_A_LINE = 20
"""Sleeps and writes of one line that are told: loops are not to use up what may be told."""

_clock = time.perf_counter

_getpid, _fstat, _exit = os.getpid, os.fstat, os._exit
_open, _read, _write, _close = os.open, os.read, os.write, os.close
_getframe, _ident = sys._getframe, _thread.get_ident
_sleep, _fsdecode = time.sleep, os.fsdecode
_dump_later, _cancel_dump = faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later


def is_first_party(file: str, roots: "tuple[str, ...]") -> bool:
    """Returns whether the file belongs to a root: a file, or a directory that ends in a slash.

    What is installed below a root (a virtual environment within a package) does not.
    """
    for root in roots:
        if file == root:
            return True
        if root.endswith("/") and file.startswith(root):
            below = file[len(root) - 1 :]
            return "/site-packages/" not in below and "/dist-packages/" not in below
    return False


def written(event: str, args: "tuple[Any, ...]", frame: "FrameType | None") -> "str | None":
    """Returns what an audit event writes to the file system; None for reading, byte code, and the null device."""
    path = args[0]
    if not isinstance(path, (str, bytes)) or (event == "open" and not (args[2] or 0) & WRITING):
        return None
    name = _fsdecode(path)
    code = frame.f_code if frame is not None else written.__code__
    if code.co_filename.startswith(IMPORT_SYSTEM) or code.co_filename == HERE or name == "/dev/null":
        return None
    if code.co_name == "_get_default_tempdir":
        return None  # tempfile tries whether it can, and takes it back
    if ".pyc" in name or name.rstrip("/").endswith("__pycache__"):
        return None
    return WRITES[event].format(name)


class Sleep:
    """Stands for `time.sleep`, which no audit event announces before 3.13. An attribute of a class, it is not bound."""

    __module__ = "time"
    __name__: str = "sleep"
    told: "Callable[[str, tuple[Any, ...], FrameType | None], object] | None" = None

    def __call__(self, seconds: "Any", /) -> None:
        told = Sleep.told
        if told is not None:
            told("time.sleep", (seconds,), _getframe(1))
        _sleep(seconds)

    def __reduce__(self) -> str:
        return "sleep"


def watch_sleep(told: "Callable[[str, tuple[Any, ...], FrameType | None], object] | None") -> None:
    """Has sleeps told as an audit event would."""
    if sys.version_info < (3, 13):
        Sleep.told = told
        if time.sleep is _sleep:
            time.sleep = Sleep()


def encode(value: "Any") -> str:
    """Returns the value as JSON, in ASCII. The json module would load re and enum, which are then not the target's."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return "[" + ",".join([encode(item) for item in items]) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    if not (text.isascii() and text.isprintable()):
        units = text.encode("utf-16-be", "surrogatepass")
        pairs = [units[at] << 8 | units[at + 1] for at in range(0, len(units), 2)]
        text = "".join([chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in pairs])
    return '"' + text + '"'


def open_file(name: str) -> int:
    return _open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def out_of_the_way(descriptor: int) -> int:
    """Returns the descriptor under a high number, so that the target's begin where they always do; not inherited."""
    os.set_inheritable(descriptor, False)
    for number in range(HIGH, HIGH + 16):
        try:
            _fstat(number)
        except OSError:
            try:
                os.dup2(descriptor, number, inheritable=False)
            except OSError:
                return descriptor
            os.close(descriptor)
            return number
    return descriptor


class Outlet:
    """A descriptor to write lines to, and the file that is opened when the audited code has closed it."""

    def __init__(self, descriptor: int, file: str) -> None:
        self.file = file
        self._take(out_of_the_way(descriptor))
        self.replaced: bool = False

    def _take(self, descriptor: int) -> None:
        found = _fstat(descriptor)
        self.descriptor: int = descriptor
        self.identity: tuple[int, int] = (found.st_dev, found.st_ino)

    def intact(self) -> bool:
        """Returns whether the descriptor is still what it was: a number may belong to another file by now."""
        try:
            found = _fstat(self.descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.identity

    def write(self, line: bytes) -> bool:
        """Writes, and returns whether the descriptor had to be opened anew."""
        fresh = not self.intact()
        if fresh:
            self.replaced = True
            self._take(open_file(self.file))
        try:
            _write(self.descriptor, line)
        except OSError:
            return fresh  # the parent has gone
        return fresh


def lacking(error: BaseException) -> "list[Any]":
    """Returns name, file and names of the module that lacks what was asked of it; or []."""
    try:
        if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
            module = sys.modules.get(error.name or "")
        elif isinstance(error, AttributeError):
            module = getattr(error, "obj", None)
        else:
            return []
        if module is None or type(module) is not type(sys):
            return []
        names = [each for each in module.__dict__ if not each.startswith("__")][:MOST_EFFECTS]
        return [module.__name__, module.__dict__.get("__file__"), names]
    except Exception:
        return []


class Stream:
    """The ways to the parent: a channel for what it waits for, and a file for what it reads at the end.

    A parent that wakes up at every event competes with the import that it measures: that cost a tenth of the time.
    """

    def __init__(self, descriptor: int, directory: str, answer: "int | None" = None) -> None:
        self.process: int = _getpid()
        self.period: float = 0.0
        self.channel: Outlet = Outlet(descriptor, directory + "/spill")
        self.answer: Outlet = self.channel if answer is None else Outlet(answer, directory + "/spill")
        self.events: Outlet = Outlet(open_file(directory + "/events"), directory + "/events")
        self.dump: Outlet = Outlet(open_file(directory + "/dump"), directory + "/dump")

    def sample(self, period: float) -> None:
        """Has the stack dumped every period, by a thread that needs no GIL."""
        self.period = period
        if not self.dump.intact():
            self.dump.write(b"")
        _dump_later(period, repeat=True, file=self.dump.descriptor)

    def stop_sampling(self) -> None:
        self.period = 0.0
        _cancel_dump()

    def _send(self, outlet: Outlet, fields: "tuple[Any, ...]") -> None:
        if _getpid() != self.process:
            return
        fresh = outlet.write((encode(fields) + "\n").encode("ascii"))
        # The dump may be lost while this outlet is not: its number may be that of a file of the target by now.
        if self.period and (fresh or not self.dump.intact()):
            self.sample(self.period)

    def send(self, *fields: "Any") -> None:
        """Sends what the parent waits for."""
        self._send(self.channel, fields)

    def note(self, *fields: "Any") -> None:
        """Writes down what the parent reads when the child has ended."""
        self._send(self.events, fields)

    def wait(self) -> None:
        """Returns when the parent says go or is gone."""
        if not self.answer.replaced and self.answer.intact():
            try:
                _read(self.answer.descriptor, 1)
            except OSError:
                pass


class Recorder:
    """Tells the stream which module runs from when to when, and what it does on the way."""

    def __init__(self, stream: Stream, roots: "tuple[str, ...]") -> None:
        self.stream: Stream = stream
        self.roots: tuple[str, ...] = roots
        self.spent: float = 0.0
        self.effects: int = 0
        self.done: bool = False
        self.known: dict[str, bool] = {}
        self.inside: dict[int, list[bool]] = {}
        self.lines: dict[tuple[Any, ...], int] = {}

    def now(self) -> float:
        return _clock() - self.spent

    def owns(self, file: str) -> bool:
        answer = self.known.get(file)
        if answer is None:
            answer = self.known[file] = is_first_party(file, self.roots)
        return answer

    def places(self, frame: "FrameType | None", search: bool) -> "list[Any]":
        """Returns file and line of the nearest frame outside the import system, then of the nearest first-party one."""
        near: list[Any] = [None, None]
        while frame is not None:
            file = frame.f_code.co_filename
            if not (file.startswith(IMPORT_SYSTEM) or file == HERE or file.endswith("/importlib/__init__.py")):
                if near[0] is None:
                    near = [file, frame.f_lineno]
                if self.owns(file):
                    return [*near, file, frame.f_lineno]
                if not search:
                    break
            frame = frame.f_back
        return [*near, None, None]

    def begin(self, name: str, file: "str | None", frame: "FrameType | None") -> None:
        began = _clock()
        thread = _ident()
        stack = self.inside.setdefault(thread, [])
        outermost = not stack or stack[-1]
        stack.append(file is not None and self.owns(file))
        places = self.places(frame, outermost)
        self.stream.note("begin", self.now(), thread, name, file, *places)
        self.spent += _clock() - began

    def end(self, name: str, failed: bool) -> None:
        began, at = _clock(), self.now()
        thread = _ident()
        if self.inside.get(thread):
            self.inside[thread].pop()
        self.stream.note("end", at, thread, name, failed)
        self.spent += _clock() - began

    def effect(self, kind: str, detail: str, frame: "FrameType | None") -> None:
        if self.done or self.effects >= MOST_EFFECTS:
            return
        began = _clock()
        places = self.places(frame, True)
        if kind in ("sleep", "file-write"):
            line = (kind, *places[:2])
            count = self.lines[line] = self.lines.get(line, 0) + 1
            if count > MOST_OF_A_LINE:
                self.spent += _clock() - began
                return
        self.effects += 1
        self.stream.note("effect", self.now(), _ident(), kind, detail[:LONGEST_TEXT], *places)
        self.spent += _clock() - began

    def heard(self, event: str, args: "tuple[Any, ...]", frame: "FrameType | None" = None) -> None:
        """The audit hook. Programs are named by their first word only: the rest may hold passwords."""
        kind = EFFECTS.get(event)
        if kind is None or self.done:
            return
        try:
            detail = event
            frame = frame or _getframe(1)
            if kind == "file-write":
                text = written(event, args, frame)
                if text is None:
                    return
                detail = text
            elif kind == "sleep":
                detail = repr(float(args[0]))
            elif kind == "connect":
                address = args[1]
                detail = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
            elif kind == "dns":
                detail = str(args[0])
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
        external = sys.modules["_frozen_importlib_external"]
        self._wrap(external._LoaderBasics, "exec_module")
        self._wrap(external.ExtensionFileLoader, "create_module")
        self._wrap(external.ExtensionFileLoader, "exec_module")
        self._watch_rings()
        sys.addaudithook(self.heard)
        watch_sleep(self.heard)
        os._exit = self.leave
        if "threading" in sys.modules:
            self._watch_threads()

    def _wrap(self, loader: "Any", method: str) -> None:
        original: Callable[[Any, Any], Any] = getattr(loader, method)

        def run(self_: "Any", subject: "Any", /) -> "Any":
            spec = getattr(subject, "__spec__", subject)
            name = getattr(subject, "__name__", None) or spec.name
            self.begin(name, getattr(spec, "origin", None), _getframe(1))
            failed = True
            try:
                result = original(self_, subject)
                failed = False
            finally:
                self.end(name, failed)
                if name == "threading":
                    self._watch_threads()
            return result

        # Warnings, tracebacks and those who look for their importer skip frames of the import system: ours is one.
        run.__code__ = run.__code__.replace(co_filename=IMPORT_SYSTEM + "._bootstrap_external>")
        setattr(loader, method, run)

    def _watch_rings(self) -> None:
        """The import system locks a module that it finds unfinished, and waits for nothing where that is its own."""
        system: Any = sys.modules["_frozen_importlib"]
        original = system._lock_unlock_module
        modules = sys.modules

        def locked(name: str) -> "Any":
            module = modules.get(name)
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                self.asked(name, module, _getframe(1))
            return original(name)

        locked.__code__ = locked.__code__.replace(co_filename=IMPORT_SYSTEM + "._bootstrap>")
        system._lock_unlock_module = locked

    def asked(self, name: str, module: "Any", frame: "FrameType | None") -> None:
        """Notes that a module was asked for before it was done, and which names of the asking code it does not have."""
        began = _clock()
        try:
            near, line = self.places(frame, False)[:2]
            while frame is not None and frame.f_code.co_filename != near:
                frame = frame.f_back
            mark = ("ring", name, near, line)
            if not self.done and frame is not None and mark not in self.lines and len(self.lines) < MOST_EFFECTS:
                self.lines[mark] = 1
                has = module.__dict__
                names = () if "__getattr__" in has else frame.f_code.co_names
                unbound = [each for each in names if each not in has][:MOST_FRAMES]
                self.stream.note("ring", self.now(), _ident(), name, near, line, unbound)
        except Exception:
            pass
        self.spent += _clock() - began

    def _watch_threads(self) -> None:
        """Before 3.12 no audit event tells that a thread starts."""
        thread: Any = getattr(sys.modules["threading"], "Thread", None)
        if sys.version_info >= (3, 12) or thread is None or thread.start.__name__ == "noted_start":
            return
        original = thread.start

        def noted_start(self_: "Any") -> None:
            self.effect("thread", str(getattr(self_, "name", "")), _getframe(1))
            original(self_)

        thread.start = noted_start

    def leave(self, status: int) -> "NoReturn":
        """Stands for `os._exit`, which no audit event announces."""
        self.effect("exit", str(status), _getframe(1))
        _exit(status)

    def explain(self, error: BaseException) -> "list[Any]":
        """Returns type, message, whether it asks to exit, and the frames, outermost first."""
        frames: list[Any] = []
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(IMPORT_SYSTEM) and code.co_filename != HERE:
                frames.append([code.co_filename, trace.tb_lineno, code.co_name])
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and error.filename:
            frames.append([error.filename, error.lineno, "<module>"])
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        try:
            message = str(error)
        except Exception:
            message = "(its message cannot be read)"
        # Of a very deep stack: its end, the bodies of modules, and the innermost line that is first-party.
        own = max((at for at, frame in enumerate(frames) if self.owns(frame[0])), default=-1)
        late = len(frames) - MOST_FRAMES
        kept = [frame for at, frame in enumerate(frames) if at >= late or at == own or frame[2] == "<module>"]
        return [name, message[:LONGEST_TEXT], isinstance(error, SystemExit), kept, lacking(error)]

    def waited_for(self) -> "list[Any]":
        """Returns name, file and line of each thread that a process waits for before it ends."""
        threading: Any = sys.modules.get("threading")
        if threading is None:
            return []
        running = sys._current_frames()
        waited = [each for each in threading.enumerate() if not each.daemon and each.ident != _ident()]
        return [[each.name, *self.places(running.get(each.ident), True)] for each in waited]


def queued() -> float:
    """Returns how long the kernel has had this thread wait for a processor; 0.0 where that is not told."""
    try:
        descriptor = _open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(_read(descriptor, 100).split()[1]) / 1e9
        finally:
            _close(descriptor)
    except (OSError, ValueError, IndexError):
        return 0.0


def settle(path: str) -> "Any":
    """Makes the interpreter look as with -c in the audited path; returns the real `__main__`, which is to be kept."""
    if getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, path)
    else:
        sys.path[0] = path
    sys.argv[:] = ["-c"]
    stand_in, own = type(sys)("__main__"), sys.modules["__main__"]
    sys.modules["__main__"] = stand_in
    return own


def leave(
    recorder: Recorder, taken: float, problem: "list[Any] | None", timeout: float, stood: float = 0.0
) -> "NoReturn":
    """Tells the result, does what an interpreter does first when it ends, and ends."""
    shutdown, run_at_exit = None, None
    stream = recorder.stream
    recorder.done = True
    if _getpid() != stream.process:
        _exit(0)  # a forked copy, in which faulthandler would wait for a thread that was not copied
    stream.stop_sampling()
    stream.send("result", taken, problem, stood)
    try:
        stream.send("threads", recorder.waited_for())
        _dump_later(min(1.0, timeout), file=stream.dump.descriptor)
        # What the interpreter does first when it ends: idle workers of a pool leave, children get their signal.
        shutdown = getattr(sys.modules.get("threading"), "_shutdown", None)
        if shutdown is not None:
            shutdown()
        stream.send("stage", "atexit")
        run_at_exit = getattr(__import__("atexit"), "_run_exitfuncs", None)
        if run_at_exit is not None:
            run_at_exit()
    except BaseException as error:
        stream.send("note", recorder.explain(error)[0])
    stream.send("left")
    stream.wait()
    _exit(0)


def main(argv: "list[str]") -> None:
    """Runs `child.py DESCRIPTOR DIRECTORY PATH TIMEOUT PERIOD MODULE ROOT...`; an empty MODULE imports nothing."""
    descriptor, directory, path, timeout, period, module, *roots = argv
    kept = settle(path)
    stream = Stream(int(descriptor), directory)
    recorder = Recorder(stream, tuple(roots))
    faulthandler.enable(file=stream.dump.descriptor)
    recorder.install()
    problem: list[Any] | None = None
    stream.send("start", recorder.now(), _ident())
    # Dumps come every period, so that a slow module is sampled; the one at the time limit names the line that hangs.
    stream.sample(float(period))
    recorder.spent = 0.0
    stood = queued()
    began = _clock()
    try:
        if module:
            __import__(module)
    except BaseException as error:
        taken = recorder.now() - began
        problem = recorder.explain(error)
    else:
        taken = recorder.now() - began
    leave(recorder, taken, problem, float(timeout) if kept else 0.0, queued() - stood)


def forks(argv: "list[str]") -> None:
    """Becomes a zygote: `zygote.py` beside this file, whose frames count as the import system's."""
    with open(os.path.join(os.path.dirname(HERE), "zygote.py"), encoding="utf-8") as file:
        code = compile(file.read(), IMPORT_SYSTEM + "._bootstrap_external>", "exec", dont_inherit=True)
    space: dict[str, Any] = {"__name__": "zygote", "child": sys.modules["__main__"]}
    exec(code, space)
    space["main"](argv)


if __name__ == "__main__":
    (forks if sys.argv[1] == "zygote" else main)(sys.argv[2:] if sys.argv[1] == "zygote" else sys.argv[1:])
