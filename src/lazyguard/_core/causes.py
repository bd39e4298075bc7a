"""Exceptions that are kept because something is failed: each as it was when it was kept, whoever raises it again.

Invariants: an exception is kept with the frames of the code that raised it, and with nothing of what its caller was
handling; whenever it is handed out, or caught again, it is as it was first, so that neither its traceback nor its chain
grows, and neither leads to itself; when it is kept no more, its chain leads to nothing that came later.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, TracebackType

if TYPE_CHECKING:
    Links = tuple[BaseException | None, BaseException | None, bool]

# By their descriptors: the class of an exception may refuse to have attributes set, as a frozen dataclass does.
_set_traceback, _set_cause, set_context, _set_suppress = (
    BaseException.__dict__[name].__set__
    for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__")
)
# The id of each exception that is kept -> what keeps it.
_kept: dict[int, ref[Kept]] = {}
# How many exceptions of a chain are looked at.
_LONGEST = 100


class Kept:
    """An exception and its chain as they were first. It is kept for as long as this object is."""

    __slots__ = ("__weakref__", "_chain", "error")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self._chain: list[tuple[BaseException, TracebackType | None, Links]] = []
        frames: set[object] = set()
        todo = [error]
        seen: set[int] = set()
        while todo and len(self._chain) < _LONGEST:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            trace = first = _of_user(one.__traceback__)
            while trace is not None:
                frames.add(trace.tb_frame)
                trace = trace.tb_next
            cause, context = one.__cause__, one.__context__
            handled = None if context is None else context.__traceback__
            if handled is not None and handled.tb_frame not in frames:
                context = None  # a caller was handling it
            self._chain.append((one, first, (cause, context, one.__suppress_context__)))
            todo += [other for other in (context, cause) if other is not None]

    def has(self, error: BaseException) -> bool:
        """Return whether it is this exception, or one of its chain."""
        return any(one is error for one, _, _ in self._chain)

    def again(self) -> BaseException:
        """Return the exception, to be handed out: it and its chain as they were first."""
        for one, trace, _ in self._chain:
            _set_traceback(one, trace)
        self._link()
        return self.error

    def _link(self, setters: tuple[Any, ...] = (_set_cause, set_context, _set_suppress)) -> None:
        for one, _, links in getattr(self, "_chain", ()):  # its making may have been interrupted
            for setter, link in zip(setters, links, strict=True):
                setter(one, link)

    def __del__(self, kept: dict[int, ref[Kept]] = _kept) -> None:  # a default: at the end the module has no names
        self._link()  # whoever has raised it again may have tied it to what it is the cause of
        for one, _, _ in getattr(self, "_chain", ()):
            if (known := kept.get(id(one))) is not None and known() in (None, self):
                kept.pop(id(one), None)


def keep(error: BaseException) -> Kept:
    """Return what keeps an exception: the same object while that lives."""
    found = _find(error)
    if found is not None and found.error is error:
        return found
    kept = Kept(error)
    for one, _, _ in kept._chain:
        known = _kept.get(id(one))
        if known is None or known() is None:
            _kept[id(one)] = ref(kept)
    return kept


def again(error: Any) -> Any:
    """Return an exception to be handed out: as it was first, if it is kept."""
    kept = None if error is None else _find(error)
    if kept is not None:
        kept.again()
    return error


def caught(error: BaseException) -> BaseException:
    """Return what user code has raised: without our own frame that caught it, and as it was first, if it is kept."""
    _set_traceback(error, _of_user(error.__traceback__))
    again(error)
    return error


def parted(error: SystemExit) -> BaseException:
    """Return an exit's twin, to be kept: with the frames of user code alone, where the exit itself goes on."""
    return SystemExit(*error.args).with_traceback(_of_user(error.__traceback__))


def _find(error: BaseException) -> Kept | None:
    """Return what keeps an exception, or one in whose chain it is."""
    known = _kept.get(id(error))
    kept = None if known is None else known()
    return kept if kept is not None and kept.has(error) else None


def _of_user(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that is not lazyguard's; the last one, where all are."""
    while trace is not None and trace.tb_next is not None:
        module = trace.tb_frame.f_globals.get("__name__")
        if not isinstance(module, str) or module.partition(".")[0] != "lazyguard":
            break
        trace = trace.tb_next
    return trace
