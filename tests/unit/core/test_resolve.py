"""Law 4: errors tell the truth, whatever a factory raises; fallbacks and timeouts at the level of a cell."""

from __future__ import annotations

import asyncio
import importlib
import traceback

import pytest

from lazyguard import errors
from lazyguard._core import cell as cells
from lazyguard._core import clock as clocks
from lazyguard._core import mode
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.effects import Join, Sleep
from lazyguard._core.resolve import resolving
from lazyguard._core.state import Outcome
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved

pytestmark = pytest.mark.usefixtures("limited")

RAISED = [
    AttributeError("x"),
    StopIteration("x"),
    StopAsyncIteration("x"),
    TimeoutError("x"),
    ImportError("x", name="missing", path="/nowhere"),
    ModuleNotFoundError("x", name="missing"),
    KeyError("x"),
    RuntimeError("generator raised StopIteration"),
    RecursionError("x"),
    MemoryError("x"),
]


@pytest.mark.parametrize("driver", ["own thread", "beside", "task", "async factory"])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_a_factory_raises_is_the_untouched_cause(error, driver):
    """The caller gets a ResolutionError, never the factory's own type for another reason; the cause is that object."""
    calls: list[int] = []

    def factory():
        calls.append(1)
        raise error

    async def afactory():
        factory()

    if driver == "async factory" and isinstance(error, StopIteration):
        pytest.skip("Python itself turns it into RuntimeError at the end of a coroutine")
    plan = Plan(timeout=30.0 if driver == "beside" else None, awaited=driver == "async factory")
    cell = Cell(afactory if plan.awaited else factory, name="mod:thing", place="mod.py:7", plan=plan)
    arguments, context = error.args, error.__context__
    for attempt in (1, 2):
        with pytest.raises(errors.ResolutionError) as caught:
            resolved(cell) if driver in ("own thread", "beside") else asyncio.run(aresolved(cell))
        told = caught.value
        assert told.__cause__ is error
        assert (error.args, error.__context__) == (arguments, context)
        assert "mod:thing" in str(told)
        assert "mod.py:7" in str(told)
        assert type(error).__name__ in str(told)
        assert isinstance(told, ImportError) == isinstance(error, ImportError)
        assert not isinstance(told, AttributeError | TimeoutError)
        assert len(calls) == attempt, "a failure is not cached"
        assert "factory" in "".join(traceback.format_exception(told))
    if isinstance(error, ImportError):
        assert (told.name, told.path) == (error.name, error.path)


def test_a_wrong_declaration_is_told_as_such():
    """What was declared wrongly speaks for itself; that the factory raised something would be no truth."""

    def factory():
        raise errors.ConfigurationError("give it another name")

    with pytest.raises(errors.ResolutionError) as caught:
        resolved(Cell(factory, name="c", place="p"))
    assert str(caught.value) == "c, declared at p, could not be built: give it another name"


class NoRetry:
    """Stands for retries that must not begin."""

    def begin(self, _):
        raise AssertionError("no retry can mend it")


def test_a_factory_that_returns_its_own_proxy_is_told_once_per_use():
    """The error says so, and no retry is wasted on it."""

    class Mirror:
        def is_shown_by(self, thing: object) -> bool:
            return thing is self

        def load(self, cell: Cell) -> None: ...

        def prepare(self, cell: Cell, snapshot: object) -> None: ...

    mirror = Mirror()
    cell = Cell(lambda: mirror, name="c", place="p", plan=Plan(retry=NoRetry()))
    cell.mirror = mirror
    with pytest.raises(errors.CircularResolutionError, match="returned what stands for it"):
        cell.resolve()
    cell.factory = lambda: "made"
    assert cell.resolve() == "made"


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_factory_that_returns_none_is_told_once_per_use(timeout):
    """None is no object: the error names the place and the likely mistake, and no retry is wasted on it."""
    cell = Cell(lambda: None, name="c", place="mod.py:7", plan=Plan(timeout=timeout, retry=NoRetry()))
    with pytest.raises(errors.ResolutionError, match=r"mod\.py:7.*returned None.*return"):
        resolved(cell)
    allowed = Cell(lambda: None, name="c", place="p", plan=Plan(allow_none=True, timeout=timeout))
    assert resolved(allowed) is None
    assert allowed.now.state == "ready"


def test_a_cells_failure_inside_a_factory_is_chained_through():
    """A cell whose factory uses a cell that fails: both are named, and the first cause is at the end of the chain."""
    cause = ConnectionError("x")

    def broken():
        raise cause

    inner = Cell(broken, name="inner", place="p:1")
    outer = Cell(lambda: resolved(inner), name="outer", place="p:2")
    with pytest.raises(errors.ResolutionError, match="outer") as caught:
        resolved(outer)
    assert caught.value.__cause__ is not None
    assert "inner" in str(caught.value.__cause__)
    assert caught.value.__cause__.__cause__ is cause


def test_a_missing_module_of_a_cell_inside_a_factory_is_chained_through():
    """The outer one is told by its own name, and is an ImportError that names the module, as the inner one is."""
    inner = Cell(lambda: importlib.import_module("no_such_module"), name="inner", place="p:1")
    outer = Cell(lambda: resolved(inner), name="outer", place="p:2")
    with pytest.raises(ImportError, match=r"^outer, declared at p:2, could not be built") as caught:
        resolved(outer)
    assert caught.value.name == "no_such_module"
    assert str(caught.value.__cause__).startswith("inner, declared at p:1, could not be built")


def test_a_failure_that_speaks_like_one_of_ours():
    """Only our own error about the same cell is passed on as it is."""

    def factory():
        raise OSError("c, declared at p, is what a factory may say")

    with pytest.raises(errors.ResolutionError, match=r"^c, declared at p, could not be built: .*OSError"):
        resolved(Cell(factory, name="c", place="p"))


@pytest.mark.parametrize("second", [ConnectionError("x"), errors.MissingModuleError("pip install x")])
def test_a_fallback_that_fails_is_told_as_unavailable(second):
    """Where the fallback fails too, whatever it raises, ServiceUnavailable names both places."""

    def broken():
        raise ConnectionError

    def also_broken():
        raise second

    cell = Cell(broken, name="c", place="p:1", plan=Plan(timeout=30.0))
    cell.fallbacks = (Cell(also_broken, name="f", place="p:2"),)
    with pytest.raises(errors.ServiceUnavailable, match=r"p:1.*p:2"):
        resolved(cell)
    assert cell.now.state == "failed"


def test_a_fallback_is_not_served_for_a_generation_that_has_ended():
    """A reset while the fallback is being built: the new generation tries the real object first."""
    calls: list[int] = []

    def factory():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError
        return "real"

    cell = Cell(factory, name="c", place="p")
    fallbacks: list[str] = []

    def fallback():
        fallbacks.append("fallback")
        if len(fallbacks) == 1:
            cell.reset()
        return "fallback"

    cell.fallbacks = (Cell(fallback, name="f", place="p"),)
    assert resolved(cell) == "real"


def test_an_attempt_that_lost_its_claim_is_not_retried():
    """Retries end when another attempt has brought the object."""

    class Retry:
        def begin(self, _):
            return self

        def again(self, outcome, until=None):
            cell.change(lambda now: now.ready("adopted", now.running[0], 0.0))
            yield Sleep(0.0)

    calls: list[int] = []

    def factory():
        calls.append(1)
        raise ConnectionError

    cell = Cell(factory, name="c", place="p", plan=Plan(retry=Retry()))
    assert resolved(cell) == "adopted"
    assert calls == [1]


def test_what_may_not_be_built_now_is_not(monkeypatch):
    """Where building is forbidden the caller hears why, no attempt begins, and what is there is served all the same."""
    cell, ready = (Cell(object, name=name, place="p") for name in ("pending", "ready"))
    target = resolved(ready)

    def forbid(asked: Cell) -> None:
        raise LookupError(asked.name)

    with monkeypatch.context() as patch:
        patch.setattr(mode, "forbid", forbid)
        with pytest.raises(LookupError, match="pending"):
            resolved(cell)
        assert resolved(ready) is target
    assert cell.now.state == "pending"
    assert resolved(cell) is cell.now.target


def test_an_attempt_that_has_left_its_cell_is_waited_for():
    """A waiter woken between an attempt's leaving its cell and its end waits for the end, and begins no other."""
    cell = Cell(object, name="c", place="p")
    steps = resolving(cell)
    launch = next(steps)
    assert launch.launches
    attempt = launch.attempt
    cell.change(lambda now: now.without(attempt))
    again = steps.send(True)
    assert isinstance(again, Join)
    assert again.attempt is attempt
    assert not cell.now.running
    attempt.end(Outcome(interrupted=True))
    relaunched = steps.send(True)
    assert relaunched.launches
    assert relaunched.attempt is not attempt
    relaunched.attempt.cell.settle(relaunched.attempt, Outcome("made"))
    cells.active.discard(attempt)
    with pytest.raises(StopIteration) as stop:
        steps.send(True)
    assert stop.value.value == "made"


def test_a_failure_that_is_not_the_callers():
    """An attempt that was interrupted, or failed after its generation, is followed by another one."""
    for reset, outcome in (
        (False, Outcome(interrupted=True)),
        (True, Outcome(error=OSError())),
    ):
        cell = Cell(object, name="c", place="p")
        steps = resolving(cell)
        first = next(steps).attempt
        if reset:
            cell.reset()
        cell.settle(first, outcome)
        second = steps.send(True)
        assert second.launches
        assert second.attempt is not first
        steps.close()
        cell.settle(second.attempt, Outcome(interrupted=True))


def test_a_fallback_of_a_loop_that_is_gone_is_not_served():
    """What an async fallback has made there is of no use here: the cell begins anew, with the real object."""
    loop = asyncio.new_event_loop()
    loop.close()
    cell = Cell(lambda: "real", name="c", place="p")
    fallback = Cell(lambda: "fallback", name="f", place="p")
    resolved(fallback)
    fallback.now = fallback.now.changed(home=loop)
    cell.degrade("fallback", OSError(), 0, fallback)
    assert resolved(cell) == "real"


def test_a_gate_hears_that_no_attempt_has_begun():
    """A gate that let an attempt begin is told of an interruption where the cell has changed before it could."""
    told: list[Outcome] = []

    class Gate:
        by_hand = False

        def admit(self, asked: Cell):
            asked.reset()
            return told.append

    cell = Cell(object, name="c", place="p")
    resolved(cell)
    cell.open(0, OSError(), Gate())
    assert resolved(cell) is cell.now.target
    assert [(outcome.interrupted, outcome.ok) for outcome in told] == [(True, False)]


def test_a_gate_hears_how_the_attempt_ends_that_it_let_begin():
    """With its outcome when it has ended; who joins it has begun none, and the gate hears so at once."""
    told: list[Outcome] = []

    class Gate:
        by_hand = False

        def admit(self, asked: Cell):
            return told.append

    cell = Cell(object, name="c", place="p")
    resolved(cell)
    cell.open(0, OSError(), Gate())
    steps = resolving(cell)
    launch = next(steps)
    assert not told
    # Another one, whom the gate lets in before the cell shows the attempt of the first.
    failed = cell.now.changed(state="failed")
    cell.change(lambda now: failed)
    joins = resolving(cell)
    assert isinstance(next(joins), Join)
    assert [outcome.interrupted for outcome in told] == [True]
    cell.settle(launch.attempt, Outcome("made"))
    assert [outcome.value for outcome in told] == [None, "made"]
    for waiting in (steps, joins):
        waiting.close()


def test_how_long_a_caller_waits(clock):
    """The timeout less the fallbacks' shares, which leave a tenth; who wants the real object waits for the whole."""
    for share, options, seconds in (
        (0.3, {}, 7.0),
        (0.3, {"wait": 4.0}, 2.8),
        (0.3, {"real": True}, 10.0),
        (0.3, {"real": True, "wait": 4.0}, 4.0),
        (0.95, {}, 1.0),
    ):
        cell = Cell(object, name="c", place="p", plan=Plan(timeout=10.0))
        cell.fallbacks = (Cell(object, name="f", place="p", plan=Plan(share=share)),)
        steps = resolving(cell, **options)
        join = next(steps)
        attempt = join.attempt
        assert join.until - clocks.now() == pytest.approx(seconds)
        steps.close()
        cell.settle(attempt, Outcome(interrupted=True))


def test_what_a_caller_hears_whose_wait_has_ended(clock, told):
    """How long it was, what was kept for a fallback, and what to give; a fallback only where there is none yet."""
    alone, helped = (Cell(object, name="c", place="p", plan=Plan(timeout=10.0)) for _ in range(2))
    helped.fallbacks = (Cell(object, name="f", place="p", plan=Plan(share=0.3)),)
    said = []
    for cell in (alone, helped):
        steps = resolving(cell)
        attempt = next(steps).attempt
        clock.advance(10.0)
        try:
            fallback = steps.send(False).attempt
        except errors.ResolutionTimeout as error:
            said.append(str(error))
        else:
            said.append(str(cell.kept and cell.kept.error))
            steps.close()
            fallback.cell.settle(fallback, Outcome(interrupted=True))
        cell.settle(attempt, Outcome(interrupted=True))
    assert [event.seconds for event in told if event.kind == "timeout"] == pytest.approx([10.0, 10.0])
    goes_on = "The attempt goes on and is adopted if it ends well; give it a longer timeout="
    assert said == [
        f"c, declared at p, was not built within 10.0 s. {goes_on}, or a fallback.",
        f"c, declared at p, was not built within 7 s (3 s are kept for a fallback). {goes_on}.",
    ]


@pytest.mark.parametrize("real", [False, True])
def test_an_object_that_comes_as_the_wait_ends(told, real):
    """Before anything is raised the cell is looked at again: what is there by now is served."""
    cell = Cell(object, name="c", place="p", plan=Plan(timeout=10.0))
    steps = resolving(cell, real=real)
    attempt = next(steps).attempt
    cell.settle(attempt, Outcome("made"))
    with pytest.raises(StopIteration) as stop:
        steps.send(False)
    assert stop.value.value == "made"
    assert [event.kind for event in told] == ["ready"]


def test_a_fallback_that_comes_as_the_wait_ends(told):
    """It is served too, to whoever does not want the real object alone."""
    cell = Cell(object, name="c", place="p", plan=Plan(timeout=10.0))
    steps = resolving(cell)
    attempt = next(steps).attempt
    cell.degrade("fallback", OSError(), 0)
    with pytest.raises(StopIteration) as stop:
        steps.send(False)
    assert stop.value.value == "fallback"
    assert [event.kind for event in told] == ["degraded"]
    cell.settle(attempt, Outcome(interrupted=True))


def test_a_probe_that_is_interrupted_leaves_nothing_open():
    """What was made is closed, the interruption is the caller's, and the next one tries again."""
    closed: list[object] = []
    interrupts = [KeyboardInterrupt()]

    def probe(_target: object) -> None:
        if interrupts:
            raise interrupts.pop()

    cell = Cell(lambda: "made", name="c", place="p", plan=Plan(probe=probe, close=closed.append))
    with pytest.raises(KeyboardInterrupt):
        resolved(cell)
    assert (closed, cell.now.state) == (["made"], "pending")
    assert resolved(cell) == "made"


def test_a_fallback_that_waits_for_itself_is_told_as_a_cycle():
    """A ring is a mistake in the program, which no second fallback hides."""
    used: list[int] = []
    cell = Cell(broken, name="c", place="p:1")
    fallback = Cell(lambda: resolved(fallback), name="f", place="p:2")
    cell.fallbacks = (fallback, Cell(lambda: used.append(1) or "second", name="g", place="p:3"))
    with pytest.raises(errors.CircularResolutionError, match=r"f \(p:2\)"):
        resolved(cell)
    assert not used


def test_a_fallback_that_fails_is_forgotten_where_there_is_an_object_by_now():
    """What came while the fallback was being tried is served, and its failure is nobody's affair."""
    cell = Cell(broken, name="c", place="p:1")

    def also_broken():
        cell.override("real")
        raise OSError

    cell.fallbacks = (Cell(also_broken, name="f", place="p:2"),)
    assert resolved(cell) == "real"


def broken():
    """Fail, as a factory."""
    raise ConnectionError
