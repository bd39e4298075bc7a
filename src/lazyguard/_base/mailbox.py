"""A listener's mailbox: what it has not been told yet, and whose turn it is to tell it.

Invariants: letters about the same thing are told one after the other, in the order in which they came; about different
things, on as many threads as post them. A thread tells what it has posted itself; what was posted for a thread of ours
(`thread` is 0), and what its own thread has not come to for `PATIENCE` seconds, `tell_next` tells, one thread at a
time. At most `MOST` letters wait. Nothing is locked: a turn is an entry of a dict, set by one atomic operation.
"""

from __future__ import annotations

import _thread
import sys

from lazyguard._base import Any, Callable, FrameType, places
from lazyguard._base.interpreter import deque, monotonic

# How many letters wait for one listener.
MOST = 1000
# Seconds after which a letter is told by a thread of ours, since its own thread is held up by another listener; and
# for which a thread waits for its turn, while the listener is being told of the same thing.
PATIENCE, TURN = 1.0, 0.1


class Letter:
    """One event on its way to one listener.

    Attributes:
        to: The mailbox of that listener.
        of: What it is about.
        thread: The thread that tells it; 0: a thread of ours, which `hand_over` sees to.
        told: Whether it was told, or dropped.
    """

    __slots__ = ("event", "hand_over", "of", "since", "thread", "to", "told")

    def __init__(self, to: Mailbox, event: Any, of: int, hand_over: Callable[[Mailbox], object] | None) -> None:
        self.to = to
        self.event = event
        self.of = of or id(self)
        self.hand_over = hand_over
        self.thread = _thread.get_ident() if hand_over is None else 0
        self.since = monotonic()
        self.told = False


class Mailbox:
    """What one listener has not been told yet.

    Args:
        listener: Called with each event.
        wants: Whether it is to be told of an event at all; None: of all.
        report: Called with the mailbox, the event and what the listener raised.

    Attributes:
        queued: Whether a thread of ours is about to look into it.
        reported: What the listener has raised that was reported.
        waiting: The letters, the oldest first.
    """

    __slots__ = ("_busy", "_lost", "_report", "_telling", "listener", "queued", "reported", "waiting", "wants")

    def __init__(
        self,
        listener: Callable[[Any], object],
        report: Callable[[Mailbox, Any, BaseException], object],
        wants: Callable[[Any], bool] | None = None,
    ) -> None:
        self.listener = listener
        self.wants = wants
        self.queued = False
        self.reported: set[str] = set()
        self._report = report
        self.waiting: deque[Letter] = deque()
        self._lost: list[None] = []
        # What is being told of at present -> the thread that has that turn, in a list of its own.
        self._telling: dict[int, list[int]] = {}
        self._busy = _thread.allocate_lock()

    def trim(self) -> None:
        """Drop letters until there is room for all that wait: reminders first, then the oldest."""
        while len(self.waiting) > MOST:
            dropped = self._first(lambda one: bool(one.event.kind == "reminder")) or self._first(lambda _: True)
            if dropped is not None and self._remove(dropped):
                dropped.told = True
                self._lost.append(None)

    def tell_own(self) -> BaseException | None:
        """Tell the listener what this thread has posted; return what it raised that is no Exception."""
        if not self.waiting:
            return None
        here, raised = _thread.get_ident(), None
        left: set[int] = set()
        while (letter := self._first(lambda one: one.thread == here and one.of not in left)) is not None:
            turn = [here]
            if self._takes(turn, letter):
                raised = self._tell_up_to(letter, turn) or raised
            else:
                left.add(letter.of)
        return raised

    def tell_next(self) -> bool:
        """Tell what is the turn of a thread of ours; return whether there is more."""
        busy = self._busy
        if not busy.acquire(False):
            return False  # who is at it looks again
        turn = [_thread.get_ident()]
        try:
            letter = self._due()
            if letter is not None and self._telling.setdefault(letter.of, turn) is turn:
                self._tell_up_to(letter, turn, pass_on=False)
        finally:
            if busy.locked():
                busy.release()
        return self._due() is not None

    def clear(self) -> None:
        """Forget all that waits, and who tells: in the child of a fork, or since nobody listens any more."""
        self.waiting.clear()
        self._telling.clear()
        self.queued = False
        self._busy = _thread.allocate_lock()

    def _due(self) -> Letter | None:
        late = monotonic() - PATIENCE
        return self._first(lambda one: (not one.thread or one.since < late) and one.of not in self._telling)

    def _first(self, which: Callable[[Letter], bool]) -> Letter | None:
        return next(filter(which, self.waiting.copy()), None)

    def _takes(self, turn: list[int], letter: Letter) -> bool:
        """Take the turn for a letter of this thread; what others have is waited for a moment."""
        held = self._telling.setdefault(letter.of, turn)
        if held is turn:
            return True
        if held[0] == turn[0]:
            if _is_telling(sys._getframe(1)):
                return False  # set off by the listener, or by a signal: it is told when that call has returned
            self._telling[letter.of] = turn  # a signal has ended that call before it gave its turn back
            return True
        import time

        until = monotonic() + TURN
        while monotonic() < until and not letter.told:
            time.sleep(0.001)
            if self._telling.setdefault(letter.of, turn) is turn:
                return True
        letter.thread = 0  # left to who has the turn
        return self._telling.setdefault(letter.of, turn) is turn

    def _tell_up_to(self, letter: Letter, turn: list[int], *, pass_on: bool = True) -> BaseException | None:
        """Tell all about the same thing up to this letter, and give the turn back."""
        of, raised = letter.of, None
        try:
            while not letter.told and (one := self._first(lambda one: one.of == of)) is not None:
                raised = self._tell(one, ours=not pass_on) or raised
        finally:
            if self._telling.get(of) is turn:
                self._telling.pop(of, None)
        if pass_on:
            self._pass_on(of, turn)
        return raised

    def _pass_on(self, of: int, turn: list[int]) -> None:
        """See to what came meanwhile, and was left to who had the turn."""
        left = self._first(lambda one: one.of == of and not one.thread)
        if left is None:
            return
        if left.hand_over is not None:
            left.hand_over(self)
        elif self._telling.setdefault(of, turn) is turn:
            self._tell_up_to(left, turn)

    def _tell(self, letter: Letter, *, ours: bool) -> BaseException | None:
        if not self._remove(letter):
            letter.told = True
            return None
        event, lost = letter.event, len(self._lost)
        del self._lost[:lost]
        try:
            self.listener(type(event)(**vars(event) | {"lost": lost}) if lost else event)
        except BaseException as error:
            from lazyguard._base.interpreter import is_a_handlers  # nothing that only declares loads it

            if not ours and (not isinstance(error, Exception) or is_a_handlers(error)):
                return error
            self._report(self, event, error)
        finally:
            letter.told = True
        return None

    def _remove(self, letter: Letter) -> bool:
        try:
            self.waiting.remove(letter)
        except ValueError:
            return False
        return True


def _is_telling(frame: FrameType) -> bool:
    """Return whether this thread tells what is in a mailbox, beside this frame."""
    codes = (Mailbox.tell_own.__code__, Mailbox.tell_next.__code__)
    return any(each.f_code in codes for each in places.outwards(frame.f_back))
