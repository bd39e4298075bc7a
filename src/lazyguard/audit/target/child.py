"""The program that runs in the audited interpreter: imports one module and streams what happens meanwhile.

Invariants: runs without lazyguard; the files beside it are loaded by their path, and are in no table of modules. It
imports only what every interpreter has loaded at its start, or has built in, so that nothing of its own is taken off
the target's bill (not even `__future__`). It never raises into the audited code, whatever the methods of an
exception do. Frames of the files that it loads
count as the import system's: warnings, tracebacks, and code that looks for its importer skip those.
"""

import faulthandler
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, NoReturn

    from lazyguard.audit.target import process_state, recorder, stream

# The file of the setup's statements.
SETUP = "<setup>"
ALWAYS = ("stream", "process_state", "recorder")
# By the first argument: the files that are loaded, of which the last has the `main` that runs in place of ours.
PROGRAMS = {"start_up": "start_up", "zygote": "dependencies zygote", "deferred": "deferred"}
# Exceptions in a row that are looked at for the module that was missed; beyond these a number is no line of a file.
MOST_CAUSES, MOST_LINES = 10, 10**9

# A copy: what the program puts in the place of a builtin is not for us. (Each function takes them when it is defined.)
globals()["__builtins__"] = BUILTINS = dict(vars(sys.modules["builtins"]))
_exit, _getpid = os._exit, os.getpid
_open, _read, _close = os.open, os.read, os.close


RECURSION = sys.getrecursionlimit()
LOADED: "list[str]" = []
# Kept here, since `settle` puts another module in the place of `__main__`.
OURSELVES = sys.modules[__name__]


def load(name: str) -> None:
    """Load the file of a name beside this one. It sees what was loaded before, and its byte code is cached."""
    external: Any = sys.modules["_frozen_importlib_external"]
    file = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    module = type(sys)(name)
    module.__dict__.update(
        {each: globals()[each] for each in LOADED}, child=OURSELVES, __file__=file, __builtins__=__builtins__
    )
    code = external.SourceFileLoader(name, file).get_code(name)
    sys.modules["_imp"]._fix_co_filename(code, "<frozen importlib._bootstrap_external>")
    exec(code, module.__dict__)
    LOADED.append(name)
    globals()[name] = module


def queued() -> float:
    """Return how long the kernel has had this thread wait for a processor; 0.0 where that is unknown."""
    try:
        descriptor = _open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(_read(descriptor, 100).split()[1]) / 1e9
        finally:
            _close(descriptor)
    except Exception:  # a hook of the program may refuse it
        return 0.0


def settle(path: str) -> None:
    """Make the interpreter look as with -c in the audited path, or with several of them."""
    sys.path[: 0 if getattr(sys.flags, "safe_path", False) else 1] = path.split(os.pathsep)
    sys.argv[:] = ["-c"]
    sys.modules["__main__"] = type(sys)("__main__")


def leave(
    recording: "recorder.Recorder", taken: float, problem: "list[Any] | None", timeout: float, waited: float = 0.0
) -> "NoReturn":
    """Send the result, do what an interpreter does first when it ends, and end.

    `waited` is the part of the time in which the import waited for a processor.
    """
    answers = recording.stream
    recording.done = True
    if _getpid() != answers.process:
        _exit(0)  # a forked copy, in which faulthandler would wait for a thread that was not copied
    answers.stop_sampling()
    most = process_state.memory("VmHWM")
    answers.send("memory", most and max(0, most - recording.memory) + recording.shown)
    answers.send("result", taken, problem, waited)
    try:
        answers.send("threads", recording.waited_for())
        stream._dump_later(min(1.0, timeout), file=answers.dump.descriptor)
        # What the interpreter does first when it ends: idle workers of a pool leave, children get their signal.
        getattr(sys.modules.get("threading"), "_shutdown", lambda: None)()
        answers.send("stage", "atexit")
        __import__("atexit")._run_exitfuncs()
    except BaseException as error:
        answers.send("note", describe(error)[0])
    answers.send("left")
    answers.wait()
    _exit(0)


def set_up(setup: str) -> None:
    """Run the setup, as statements of the main program."""
    exec(compile(setup, SETUP, "exec"), {"__name__": "__main__", "__builtins__": sys.modules["builtins"]})


def imported(
    recording: "recorder.Recorder", module: str, began: float, setup: str = ""
) -> "tuple[float, list[Any] | None]":
    """Import a module, or run the setup; return the seconds since `began`, and what was raised."""
    # Neither the frames that call this nor those that record are to make a chain of imports too deep.
    depth = recorder.DEPTH + sum(1 for _ in recorder.outwards(sys._getframe()))
    if sys.getrecursionlimit() in (RECURSION, recording.limit):
        recording.limit = RECURSION + depth
        sys.setrecursionlimit(recording.limit)
    try:
        if module:
            __import__(module)
        else:
            set_up(setup)
    except BaseException as error:
        taken = recording.now() - began
        return taken, describe(error, recording.owns)
    return recording.now() - began, None


def kept(kind: type, name: str, of: "Any") -> "Any":
    """Return what the interpreter itself keeps of an object by a name, whatever the object's class says."""
    return kind.__dict__[name].__get__(of)


def text(of: object) -> str:
    """Return the plain text of an object."""
    try:
        return str.__str__(str(of))[: recorder.LONGEST_TEXT]
    except BaseException:
        return "(its message cannot be read)"


def lacking(error: BaseException) -> "list[Any]":
    """Return name, file and names of the module that lacks what was asked of it; or []."""
    module: Any = None
    if issubclass(type(error), ImportError) and not issubclass(type(error), ModuleNotFoundError):
        name = kept(ImportError, "name", error)
        module = sys.modules.get(name) if type(name) is str else None
    elif issubclass(type(error), AttributeError):
        module = kept(AttributeError, "obj", error)
    if type(module) is not type(sys):
        return []
    space = module.__dict__
    names = [each for each in space if type(each) is str and not each.startswith("__")][: recorder.MOST_EFFECTS]
    file = space.get("__file__")
    return [text(space.get("__name__")), file if type(file) is str else None, names]


def describe(error: BaseException, owns: "Callable[[str], bool]" = lambda _: False) -> "list[Any]":
    """Return type, message, whether it asks to exit, the frames (outermost first), what lacks a name, what is missing.

    Of a very deep stack only the end, the bodies of modules, and the innermost line that `owns` has are kept.
    """
    frames: list[Any] = []
    trace: TracebackType | None = kept(BaseException, "__traceback__", error)
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(recorder.IMPORT_SYSTEM) and code.co_filename != recorder.PROGRAM:
            frames.append([code.co_filename, trace.tb_lineno, code.co_name])
        trace = trace.tb_next
    kind = type(error)
    if issubclass(kind, SyntaxError) and type(file := kept(SyntaxError, "filename", error)) is str and file:
        frames.append([file, kept(SyntaxError, "lineno", error), "<module>"])
    home, name = text(kept(type, "__module__", kind)), kept(type, "__qualname__", kind)
    own = max((at for at, frame in enumerate(frames) if owns(frame[0])), default=-1)
    last = len(frames) - recorder.MOST_FRAMES
    shown = [frame for at, frame in enumerate(frames) if at >= last or at == own or frame[2] == "<module>"]
    for frame in shown:
        frame[1] = frame[1] if type(frame[1]) is int and 0 <= frame[1] < MOST_LINES else None
    name = name if home == "builtins" else f"{home}.{name}"
    return [name, text(error), issubclass(kind, SystemExit), shown, lacking(error), missed(error)]


def missed(error: "BaseException | None") -> "str | None":
    """Return the module that could not be found, where the error is of that or was raised over it."""
    for _ in range(MOST_CAUSES):
        if error is None:
            break
        try:  # that of a distribution without metadata is a property
            name: Any = error.name if issubclass(type(error), ModuleNotFoundError) else None  # type: ignore[attr-defined]
        except BaseException:
            name = None
        if type(name) is str and name:
            return name
        cause = kept(BaseException, "__cause__", error)
        error = kept(BaseException, "__context__", error) if cause is None else cause
    return None


def main(argv: "list[str]") -> None:
    """Run `child.py DESCRIPTOR DIRECTORY PATH TIMEOUT PERIOD SETUP MODULE ROOT...`.

    SETUP is run before the import of MODULE; an empty MODULE stands for the setup itself.
    """
    descriptor, directory, path, timeout, period, setup, module, *roots = argv
    settle(path)
    answers = stream.Stream(int(descriptor), directory)
    recording = recorder.Recorder(answers, tuple(roots))
    faulthandler.enable(file=answers.dump.descriptor)
    recording.install()
    problem: list[Any] | None = None
    if setup and module:
        answers.send("setup", recording.now(), recorder._ident())
        answers.sample(float(timeout))  # samples of the setup say nothing of the module, and may crash
        _, problem = imported(recording, "", recording.now(), setup)
    began = recording.now()
    answers.send("start", began, recorder._ident(), module in sys.modules)
    # Dumps come every period, so that a slow module is sampled; the one at the time limit names the line that hangs.
    answers.sample(float(period))
    before, taken = queued(), 0.0
    if problem is None:
        taken, problem = imported(recording, module, recording.now(), setup)
    leave(recording, taken, problem, float(timeout), queued() - before)


if __name__ == "__main__":
    for _each in (*ALWAYS, *PROGRAMS.get(sys.argv[1], "").split()):
        load(_each)
    if sys.argv[1] in PROGRAMS:
        globals()[sys.argv[1]].main(sys.argv[2:])
    else:
        main(sys.argv[1:])
