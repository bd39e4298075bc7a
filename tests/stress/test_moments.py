"""Resolution at odd moments: in finalisers, in signal handlers, while the interpreter leaves."""

from __future__ import annotations

import gc
import signal

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import cell as cells
from lazyguard._core import wait_cycles
from lazyguard._core.cell import Cell
from lazyguard._core.threads import resolved

pytestmark = pytest.mark.usefixtures("limited")


def under_way() -> set[object]:
    return {*cells.active, *wait_cycles.running, *wait_cycles.waiting}


@pytest.fixture
def is_clean():
    """Return a function that says whether nothing is under way but what was before the test."""
    before = {id(one) if not isinstance(one, int) else one for one in under_way()}
    return lambda: {id(one) if not isinstance(one, int) else one for one in under_way()} <= before


class Dying:
    """Garbage in a cycle, whose finaliser does something."""

    def __init__(self, at_end) -> None:
        self.me = self
        self.at_end = at_end

    def __del__(self) -> None:
        self.at_end()


@pytest.mark.parametrize("which", ["the same", "another", "both ways"])
def test_a_finaliser_during_a_collection_amid_another_resolution(which, is_clean, eventually):
    """A collection at each allocation of a resolution, whose finaliser resolves, too: told or built, never stuck."""
    outcomes: list[object] = []
    gc.collect()
    gc.freeze()
    try:
        for threshold in range(1, 160):
            one = Cell(list, name="one", place="here:1")
            two = Cell(lambda one=one: [resolved(one)], name="two", place="here:2")
            inner = {"the same": one, "another": two, "both ways": two}[which]
            outer = two if which == "both ways" else one

            def at_end(inner=inner) -> None:
                try:
                    outcomes.append(resolved(inner))
                except errors.LazyguardError as error:
                    outcomes.append(error)

            Dying(at_end)
            gc.set_threshold(threshold, 1, 1)
            try:
                resolved(outer)
            except errors.ResolutionError:
                pass
            finally:
                gc.set_threshold(700, 10, 10)
            # amid a collection of another thread this one does nothing
            eventually(lambda times=threshold: gc.collect() >= 0 and len(outcomes) >= times)
            assert resolved(one) == []
            assert resolved(two) == [[]]
    finally:
        gc.unfreeze()
        gc.set_threshold(700, 10, 10)
    assert len(outcomes) == 159
    assert is_clean()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
@pytest.mark.parametrize("timed", [False, True])
def test_a_signal_handler_resolves_amid_another_resolution(timed, is_clean, eventually):
    """Signals come all the time, and their handler uses the same object and another: both stay usable throughout."""
    declare = lazyguard.service(timeout=30.0 if timed else None, recovery=None)
    get_one, get_two = declare(lambda: [1]), declare(lambda: [get_one()[0] + 1])
    handled: list[object] = []

    def handler(_number, _frame) -> None:
        for get in (get_one, get_two):
            try:
                handled.append(get()[0])
            except errors.ResolutionError as error:
                handled.append(error)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for turn in range(1000):
            # one signal a turn: where they come faster than they are handled, no handler ever ends
            signal.setitimer(signal.ITIMER_REAL, 0.00001 + turn % 50 * 0.00002)
            get_one.reset()
            get_two.reset()
            try:
                get_two()[0]
            except errors.ResolutionError:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled
    assert {one for one in handled if not isinstance(one, BaseException)} <= {1, 2}
    assert get_one()[0] == 1
    assert get_two()[0] == 2
    eventually(is_clean)  # an attempt on a thread of its own tells all before it ends


AT_EVERY_LINE = """
    import logging, sys, threading
    import lazyguard
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())
    failing = False

    def make():
        if failing:
            raise OSError("away")
        return [1]

    def declare(kind):
        if kind == "lazy":
            return lazyguard.lazy(make)
        options = {}
        if kind == "timed":
            options["timeout"] = 30.0
        if kind == "retried":
            options["retry"] = lazyguard.Retry(attempts=2, initial=0.0)
        if kind == "watched":
            options["failures"] = (OSError,)
        get = lazyguard.service(recovery=None, **options)(make)
        if kind == "degraded":
            get.fallback(lambda: [1])
        return get()

    kind = sys.argv[1]
    failing = kind == "degraded"
    outer = declare(kind)
    spare = [declare(kind) for _ in range(400)]
    told, built = [], []

    def handle():
        another = spare.pop()
        for asked in (another, outer):
            try:
                built.append(asked[0])
            except lazyguard.ResolutionError as error:
                told.append(error)

    def every(frame, event, argument):
        code = frame.f_code
        if code.co_name != "<module>" or "lazyguard" not in code.co_filename:
            return None
        if event == "line" and spare:
            sys.settrace(None)
            try:
                handle()
            finally:
                sys.settrace(every)
        return every

    sys.settrace(every)
    try:
        outer[0]
    except lazyguard.ResolutionError as error:
        told.append(error)
    finally:
        sys.settrace(None)
    assert len(told) > 10, (len(told), len(built))
    # a handler on top of an attempt cannot wait for that same attempt
    told = [error for error in told if not isinstance(error, lazyguard.errors.CircularResolutionError)]
    def root(error):
        return error if error.__cause__ is None else root(error.__cause__)

    strange = {str(root(error)) for error in told if "just importing what builds it" not in str(root(error))}
    assert not strange, strange
    assert outer[0] == 1
    assert all(declare(kind)[0] == 1 for _ in range(3))
"""


@pytest.mark.parametrize("kind", ["lazy", "service", "timed", "retried", "watched", "degraded"])
def test_a_handler_while_a_first_resolution_imports(process, kind):
    """A handler at any line of our modules while the first resolution loads them: told what it is, all usable after."""
    process(AT_EVERY_LINE, kind)


SHUTDOWN = """
    import atexit, logging, sys, threading, time
    import lazyguard
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())
    where, timeout = sys.argv[1], float(sys.argv[2]) or None

    @lazyguard.service(timeout=timeout, recovery=None)
    def get_it() -> list:
        return [1]

    def use():
        try:
            assert get_it()[0] == 1
        except lazyguard.ResolutionError as error:
            assert timeout, error  # no thread can be had any more

    class Last:
        def __del__(self):
            use()

    def for_ever():
        while True:
            get_it.reset()
            try:
                get_it()[0]
            except lazyguard.ResolutionError:
                pass

    if where == "atexit":
        atexit.register(use)
    elif where == "global":
        get_it()[0]
        get_it.reset()
        last = Last()
    elif where == "daemon":
        for _ in range(4):
            threading.Thread(target=for_ever, daemon=True).start()
        time.sleep(0.05)
    elif where == "exit":
        get_it()[0]
        sys.exit(0)
"""


@pytest.mark.parametrize("timeout", ["0", "30"])
@pytest.mark.parametrize("where", ["atexit", "global", "daemon", "exit"])
def test_a_resolution_while_the_interpreter_leaves(process, where, timeout):
    """At exit, in the last finaliser, on daemon threads: built or told, silent, with status 0, and no hang."""
    process(SHUTDOWN, where, timeout)
