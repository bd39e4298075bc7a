"""Closing what factories made: a target that is to be closed is a PendingClose, carried out once.

Invariants: there is one before its factory is called, and it has the target as soon as that is made; who claims it
carries it out; not while a block holds its target; on its event loop, where it belongs to one that runs; no lock is
held while `close` runs; what falls due is closed in its order, by a few threads, of which one that hangs is replaced;
no child of a fork closes what its parent has made; the exit is held up for `AT_EXIT` seconds
at the most.
"""

from __future__ import annotations

import _thread
import sys
from _weakref import ref

from lazyguard import events
from lazyguard._base import Any, Callable
from lazyguard._base.interpreter import Lock, is_a_handlers, monotonic
from lazyguard._core import clock, daemons, declaration, loaded, state, whole
from lazyguard._core.state import Attempt, builds, to_close

# Reentrant, since a signal handler or a finaliser may run on its holder's thread.
_lock = Lock()
# By the target's id: the target, who holds it, and what closes it after that.
_held: dict[int, tuple[Any, set[object], list[PendingClose]]] = {}


def hold(target: Any, holder: object) -> None:
    """Put off the closing of a target until `let_go` was called for each holder."""
    with _lock:
        _held.setdefault(id(target), (target, set(), []))[1].add(holder)


def let_go(target: Any, holder: object) -> None:
    """End a hold, if there is one; close here and now what was to be closed meanwhile, if it was the last one."""
    with _lock:
        _, holders, waiting = _held.get(id(target), (None, {holder}, []))
        holders.discard(holder)
        if holders:
            return
        for pending in waiting:
            pending.scheduled = False
        _held.pop(id(target), None)
    for pending in waiting:
        carry_out(pending)


# What ends the work that others have under way, before `aclose` closes what there is.
enders: list[Callable[[], object]] = []
# Seconds for all that is closed at the exit, and seconds after which a close counts as hanging.
AT_EXIT, HANGS = 2.0, 10.0
# What has no higher number was made by a parent of this process. It is kept, so that no finaliser runs here either.
_inherited: list[Any] = []
_registered: dict[str, object] = {}


class PendingClose:
    """One target that is to be closed when it has left service.

    Attributes:
        box: The target, as the only value; empty while there is none.
        scheduled: Whether somebody will carry it out.
        made: Its place in the order of construction.
        home: The event loop that it belongs to; None where it belongs to none.
        awaited: Whether its factory is async, so that `close` may be.
    """

    def __init__(self, attempt: Attempt) -> None:
        cell = attempt.cell
        self.box: dict[int, Any] = {}
        self.made: int = next(builds)
        self.awaited: bool = cell.plan.awaited
        self.home: Any = attempt.home or (cell.home if self.awaited else None)
        self.name: str = cell.name
        self.place: str = cell.place
        # not the cell itself, which may be about to go
        self._cell = ref(cell)
        self._close: Any = cell.plan.close
        self._claims: dict[str, object] = {}
        self._ended = False
        self.scheduled = False
        self._watch: Any = None
        self._waiting: list[Callable[[], object]] = []

    def built(self) -> None:
        """Take its place in the order: it comes after what its factory has built on the way, and needs."""
        self.made = next(builds)
        _close_at_exit()

    @property
    def target(self) -> Any:
        """What is to be closed."""
        return self.box.get(0)

    @property
    def claimed(self) -> bool:
        """Whether somebody closes it, or has done so."""
        return bool(self._claims)

    def claim(self, token: object) -> bool:
        """Return whether it is the caller's alone to close; `token` is an object of the caller's own."""
        return self._claims.setdefault("by", token) is token

    def taken(self) -> list[PendingClose]:
        """Return it: its target was taken out of service before."""
        return [self]

    def run(self, launch: Callable[[PendingClose, Any], object] | None = None) -> None:
        """Call `close` here, unless somebody else has begun to; `launch` sees to what is to be awaited.

        What ends the program on this thread, and what a signal handler raises, passes when all is noted.
        """
        if self.made <= state.made_by_parents:
            _inherited.append(self)
            to_close.pop(self, None)
            return
        token = object()
        begun = launched = False
        try:
            if not self.claim(token):
                return
            target = self.target
            self._watch = loaded("_core.scheduler").at(clock.now() + HANGS, self._look)
            begun = True
            waits = self._close(target)
            if self.awaited and hasattr(waits, "__await__"):
                if launch is None:
                    getattr(waits, "close", bool)()
                    self.failed("the event loop that it belongs to does not run: await lazyguard.aclose() in it")
                else:
                    launch(self, waits)
                    launched = True
        except BaseException as error:
            begun = begun and not _came_first(error)
            if not begun or not isinstance(error, (Exception, SystemExit)):
                raise
            self.failed(events.describe(error))
            if loaded("_core.threads").passes(error):
                raise
        finally:
            if begun:
                to_close.pop(self, None)
                if not launched:
                    self.end()
            elif self._claims.get("by") is token:
                self._claims.clear()  # interrupted before `close`: somebody else may call it

    def end(self) -> None:
        """Let go of the target, and tell all who wait."""
        self._ended = True
        self.box = {}
        if self._watch is not None:
            self._watch.cancel()
        self.tell()

    def tell(self) -> None:
        """Tell those who wait that it is closed, or that it will be later."""
        state.call(self._waiting)

    def wait(self, wake: Callable[[], object]) -> None:
        """Wake once when it is closed, or was put off."""
        self._waiting.append(wake)
        if self._ended:
            self.tell()

    def failed(self, cause: str) -> None:
        """Tell that it was not closed, and why."""
        cell: Any = self._cell()
        if cell is None:
            events.tell(self, "close-failed", state.PENDING, state.PENDING, cause=cause)
        else:
            cell.tell("close-failed", cell.now, cell.now, cause=cause)

    def _look(self) -> None:
        if not self._ended:
            self.failed(f"close= has not returned for {HANGS:g} s")
            crew.look()


def _came_first(error: BaseException) -> bool:
    """Return whether a signal came at the first instruction of what this frame has called, which has done nothing."""
    inside = None if error.__traceback__ is None else error.__traceback__.tb_next
    if inside is None or (isinstance(error, (Exception, SystemExit)) and not is_a_handlers(error)):
        return False
    code = inside.tb_frame.f_code
    first = 2 * (1 + len(code.co_cellvars) + bool(code.co_freevars)) if _BEGINS else 0
    return inside.tb_lasti <= first


# Before 3.11 no instruction begins a function: the one after the first may be a `raise` of its own.
_BEGINS: bool = sys.version_info[:2] > (3, 10)


def _close_at_exit() -> None:
    """See to it that what there is to close is closed at the exit, at the latest."""
    token = object()
    if _registered.setdefault("exit", token) is token:
        import atexit

        atexit.register(at_exit)
        if daemons.NONE_AT_EXIT:  # pragma: no cover (of two versions alone)
            daemons.daemon(bool, "exit", again=True)


def take_back(pending: PendingClose, attempt: Attempt) -> PendingClose | None:
    """Return what will close the target, which is in use again; None: somebody has begun to close it."""
    if not pending.claim(object()):
        return None
    taken = PendingClose(attempt)
    taken.box = pending.box
    to_close.pop(pending, None)
    return taken


def catch_up() -> None:
    """Close soon what has left service, and was left to nobody."""
    for pending in list(to_close):
        if not pending.scheduled and not pending.claimed:
            after_grace(pending, clock.now())


def carry_out(pending: PendingClose) -> None:
    """Close the target here, or have its event loop do it; put off while a block holds it."""
    with _lock:
        held = _held.get(id(pending.target))
        if held is not None:
            held[2].append(pending)
            pending.scheduled = True
    if held is None:
        carry_out_now(pending)
    else:
        pending.tell()


def carry_out_now(pending: PendingClose) -> None:
    """Do `carry_out`, whoever holds the target."""
    if pending.awaited:
        loaded("_core.task_closing").carry_out(pending)
    else:
        pending.run()


def on_a_thread(pending: PendingClose, how: Callable[[PendingClose], None] = carry_out) -> None:
    """Close the target on a daemon thread."""
    try:
        daemons.daemon(lambda: how(pending), pending.name, again=True)
    except RuntimeError:
        pending.tell()  # no thread is available: it stays pending, and is closed at the exit


def after_grace(pending: PendingClose, due: float) -> None:
    """Close the target when the clock shows `due`."""
    if not daemons.allowed:
        carry_out(pending)
        return
    loaded("_core.scheduler").closings().at(due, lambda: crew.add(pending))
    pending.scheduled = True


def _close_due(pending: PendingClose) -> None:
    loaded("_core.scheduler").background().run(carry_out, pending)


# The threads that close what has fallen due: few, however much that is.
crew = daemons.Crew("closer", _close_due, most=4, hangs=HANGS, now=lambda: clock.now())


def after_finaliser(pending: PendingClose, due: float) -> None:
    """Do `after_grace` for a finaliser, which may run while its thread holds any lock, those of `threading` too."""
    scheduler = whole("_core.scheduler")
    try:
        if scheduler is None:
            _thread.start_new_thread(after_grace, (pending, due))
            return
        closings, pending.scheduled = scheduler.closings(), True
        if not closings.put(scheduler.Job(due, lambda: crew.add(pending))):
            _thread.start_new_thread(closings.poke, ())
    except RuntimeError:
        pass  # the interpreter is ending: it is closed at the exit


def all_to_close(*, awaited: bool) -> list[Callable[[], list[PendingClose]]]:
    """Return what takes each target out of service and returns its pending closes, the last one that was built first.

    With `awaited` also those of async services.
    """
    found: list[tuple[int, Callable[[], list[PendingClose]]]] = [
        (pending.made, pending.taken)
        for pending in list(to_close)
        if not pending.claimed and (awaited or not pending.awaited)
    ]
    for cell, _ in declaration.cells():
        if not cell.used:
            continue
        served = [closes.made for one in (cell, *cell.fallbacks) if (closes := one.now.closes) is not None]
        made = max(served, default=0)
        if made and (awaited or not cell.plan.awaited):
            found.append((made, cell.begin_anew))
    found.sort(key=lambda one: -one[0])
    return [take for _, take in found]


def close() -> None:
    """Close what services with sync factories hold, on this thread, the last one that was built first.

    It is for services with a `close=`; the next use of one builds anew. What waits for its `grace` to be over is closed
    now, what a block holds when that block ends. The value of an override is yours and stays as it is.

    It is done at the exit too, by itself, for async services as well: in two seconds for all, whatever hangs. An error
    in `close=` is an event, "close-failed", and raised nowhere. A forked child closes nothing that its parent made.

    Any number of threads may call it: each object is closed once.

    Example:
        >>> import lazyguard
        >>> @lazyguard.service(close=lambda numbers: print("closing", numbers))
        ... def get_numbers() -> list[int]:
        ...     return [1, 2]
        >>> len(get_numbers())
        2
        >>> lazyguard.close()
        closing [1, 2]
        >>> lazyguard.close()
    """
    for take in all_to_close(awaited=False):
        for pending in take():
            carry_out(pending)
        events.deliver()


async def aclose() -> None:
    """Close what all services hold, async ones included, the last one that was built first.

    What an async factory made is closed on its own event loop: this one, or another one that runs. Where that does not
    run any more, an async `close=` cannot be awaited, and "close-failed" says so: await this as the last thing in the
    loop. A sync factory's object is closed on a thread beside it. For the rest it is like `close`.

    What is under way ends: preloads, recoveries, and attempts to build what has a `close=` or is async. Who waits for
    one of these gets ServiceUnavailable; what such an attempt builds all the same is closed at once.

    Cancelled, it leaves what it has not come to in service.

    Example:
        >>> import asyncio, lazyguard
        >>> async def say_goodbye(numbers: list[int]) -> None:
        ...     print("closing", numbers)
        >>> @lazyguard.service(close=say_goodbye)
        ... async def get_numbers() -> list[int]:
        ...     return [1, 2]
        >>> async def main() -> None:
        ...     await get_numbers.aget()
        ...     await lazyguard.aclose()
        >>> asyncio.run(main())
        closing [1, 2]
    """
    await loaded("_core.task_closing").aclosed()


def at_exit() -> None:
    """Close all that there is, each on a thread of its own; one that hangs leaves half of the time to the next."""
    todo = all_to_close(awaited=True)
    until = monotonic() + AT_EXIT  # not our clock, which may stand still
    for left_over, take in zip(reversed(range(len(todo))), todo, strict=True):
        for pending in take():
            left = until - monotonic()
            done = _thread.allocate_lock()
            done.acquire()
            pending.wait(done.release)
            on_a_thread(pending, carry_out_now)
            done.acquire(True, max(0.0, left / 2 if left_over else left))
            if not pending._ended:  # it was put off, where there is no thread, or goes on
                pending.failed("close= has not returned at the exit")
    events.deliver()


def in_child() -> None:
    """Close nothing of what the parent of this process has made."""
    _inherited.extend(list(to_close))
    to_close.clear()
