"""What `guarded` promises: signature and type, the order of its policies, what each counts, sync and async alike."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import linecache
import random
import threading
import traceback
import weakref

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._services import fast_path
from lazyguard.testing import FakeClock


class Dependency:
    """What guarded functions call: raises `fate` if there is one, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.fates: list[BaseException | None] = []
        self.fate: BaseException | None = None

    def __call__(self, *args, **named):
        self.calls += 1
        fate = self.fates.pop(0) if self.fates else self.fate
        if fate is not None:
            raise fate
        return args, named


@pytest.fixture
def there():
    """Return a dependency that is there."""
    return Dependency()


@pytest.fixture(params=["sync", "async"])
def guard(request, there):
    """Return a function that guards one which calls the dependency, sync or async, and always returns a sync one."""

    def declare(fallback=None, **options):
        if request.param == "sync":

            @lazyguard.guarded(name="call", **options)
            def call(*args, **named):
                return there(*args, **named)

            if fallback is not None:
                call.fallback(fallback)
            return call

        @lazyguard.guarded(name="call", **options)
        async def acall(*args, **named):
            await asyncio.sleep(0)
            return there(*args, **named)

        if fallback is not None:
            if "cause" in inspect.signature(fallback).parameters:

                async def answer(cause, *args, **named):
                    return fallback(cause, *args, **named)
            else:

                async def answer(*args, **named):
                    return fallback(*args, **named)

            acall.fallback(answer)

        def run(*args, **named):
            return asyncio.run(acall(*args, **named))

        run.health, run.reset = acall.health, acall.reset
        return run

    return declare


POLICIES = {
    "nothing": {},
    "retry": {"retry": lazyguard.Retry()},
    "breaker": {"breaker": lazyguard.Breaker()},
    "timeout": {"timeout": 60.0},
    "all": {"retry": lazyguard.Retry(initial=0.0), "breaker": lazyguard.Breaker(), "timeout": 60.0},
}


@pytest.mark.parametrize("options", POLICIES.values(), ids=POLICIES)
def test_arguments_and_result(guard, options):
    """Both pass as they are."""
    assert guard(**options)(1, 2, three=3) == ((1, 2), {"three": 3})


@pytest.mark.parametrize("options", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("error", [StopIteration(1), KeyError("x"), TimeoutError("its own"), SystemExit(3)])
def test_what_is_raised(guard, there, options, error):
    """The function's own error reaches the caller: the same object, a TimeoutError and a StopIteration among them."""
    if isinstance(error, StopIteration) and "acall" in guard().__code__.co_freevars:
        pytest.skip("Python itself turns it into RuntimeError at the end of a coroutine")
    there.fate = error
    with pytest.raises(type(error)) as caught:
        guard(**options)()
    assert caught.value is error


# the shape of the function


def plain(a: int, /, b: str = "b", *rest: int, c: bool, **named: float) -> list[int]:
    """What it does."""
    return [a, len(b), *rest]


plain.mark = "kept"  # type: ignore[attr-defined]


async def awaitable(a: int) -> int:
    """What it awaits."""
    return a


@pytest.mark.parametrize("options", POLICIES.values(), ids=POLICIES)
def test_it_looks_like_the_function(options):
    """Name, module, doc, annotations, attributes, signature and async-ness are the function's."""
    for function in (plain, awaitable):
        made = lazyguard.guarded(**options)(function)
        assert inspect.signature(made) == inspect.signature(function)
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
            assert getattr(made, attribute) == getattr(function, attribute)
        assert made.__wrapped__ is function
        assert inspect.isfunction(made)
        assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(function)
    assert lazyguard.guarded(**options)(plain).mark == "kept"


class Client:
    """Guarded methods of all kinds, with fallbacks."""

    made = 0
    fate: BaseException | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def go(self) -> None:
        if self.fate is not None:
            raise self.fate

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2))
    def method(self, key: str) -> str:
        """Get it."""
        self.go()
        return f"{self.name} {key}"

    @method.fallback
    def _(self, cause: Exception, key: str) -> str:
        return f"{self.name} has no {key}: {type(cause).__name__}"

    @lazyguard.guarded(retry=lazyguard.Retry(initial=0.0))
    async def amethod(self, key: str) -> str:
        self.go()
        return f"{self.name} {key}"

    @amethod.fallback
    async def _(self, key: str) -> str:
        return f"{self.name} has no {key}"

    @lazyguard.guarded()
    @classmethod
    def above(cls, key: str) -> str:
        if cls.fate is not None:
            raise cls.fate
        return f"{cls.__name__} {key}"

    @above.fallback
    def _(cls, cause: Exception, key: str) -> str:
        return f"{cls.__name__} has no {key}"

    @classmethod
    @lazyguard.guarded()
    def below(cls, key: str) -> str:
        return f"{cls.__name__} {key}"

    @lazyguard.guarded()
    @staticmethod
    def static(key: str) -> str:
        if Client.fate is not None:
            raise Client.fate
        return key

    @static.fallback
    @staticmethod
    def _(cause: Exception, key: str) -> str:
        return f"no {key}"


def test_methods(monkeypatch):
    """Methods, class methods in either order and static methods bind as they do bare, and so do their fallbacks."""
    client = Client("a")
    assert (client.method("x"), Client.method(client, key="x")) == ("a x", "a x")
    assert (client.above("x"), Client.above("x"), Client.below("x"), Client.static("x")) == (
        "Client x",
        "Client x",
        "Client x",
        "x",
    )
    assert asyncio.run(client.amethod("x")) == "a x"
    monkeypatch.setattr(Client, "fate", OSError())
    assert client.method("x") == client.method(key="x") == "a has no x: OSError"
    assert asyncio.run(client.amethod("x")) == "a has no x"
    assert (client.above("x"), Client.static("x")) == ("Client has no x", "no x")
    assert client.method.__self__ is client
    assert client.method.health().name.endswith(":Client.method")


def test_one_breaker_for_all_objects(monkeypatch):
    """A method's breaker is shared by all objects; that of a guarded bound method is the object's own."""
    Client.method.reset()
    first, second = Client("a"), Client("b")
    first.fate = OSError()
    for _ in range(2):
        first.method("x")
    assert second.method("x") == "b has no x: CircuitOpen"
    Client.method.reset()
    first.own, second.own = (
        lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))(c.go) for c in (first, second)
    )
    with pytest.raises(OSError):
        first.own()
    with pytest.raises(lazyguard.CircuitOpen):
        first.own()
    second.own()


def test_other_callables():
    """A partial, a builtin and an object with `__call__` can be guarded too."""

    class Callable:
        def __call__(self, a: int) -> int:
            return a + 1

    assert lazyguard.guarded()(functools.partial(plain, 1, c=True))() == [1, 1]
    assert lazyguard.guarded()(len)("abc") == 3
    assert lazyguard.guarded(breaker=lazyguard.Breaker())(Callable())(1) == 2


# declaring


def generator():
    yield


async def agenerator():
    yield


@pytest.mark.parametrize("function", [generator, agenerator])
def test_generators_are_refused(function):
    """Their body runs after the call: that is told, with what to do."""
    with pytest.raises(errors.UsageError, match=rf"{function.__name__} .*is a generator: its body runs after"):
        lazyguard.guarded()(function)


def test_wrong_use():
    """Without parentheses, on what is no function, with wrong options: told where it is written."""
    with pytest.raises(errors.UsageError, match=r"takes options only: write @lazyguard.guarded\(\) above"):
        lazyguard.guarded(plain)
    with pytest.raises(errors.UsageError, match="takes a function or a method, not int"):
        lazyguard.guarded()(3)
    for options, told in (
        ({"name": 3}, "name=3"),
        ({"timeout": 0}, "timeout=0"),
        ({"retry": 3}, "retry=3 .* give a lazyguard.Retry, a tenacity.Retrying"),
        ({"breaker": 3}, "breaker=3 .* give a lazyguard.Breaker"),
    ):
        with pytest.raises(errors.ConfigurationError, match=told):
            lazyguard.guarded(**options)


def test_wrong_fallbacks():
    """The same once more, no function, a generator, sync for async, other arguments: told with both places."""

    @lazyguard.guarded()
    def call(a: int, b: int = 2) -> int:
        return a

    async def coroutine(a, b):
        return a

    for fallback, told in (
        (len, "must be a function"),
        (generator, "is a generator"),
        (coroutine, "make both alike"),
        (lambda: 1, "takes fewer arguments"),
        (lambda cause: 1, "takes fewer arguments"),
        (lambda a, b, c: 1, "needs arguments"),
    ):
        with pytest.raises(errors.ConfigurationError, match=told):
            call.fallback(fallback)
    right = call.fallback(lambda a, b=2, c=3: 1)
    with pytest.raises(errors.ConfigurationError, match="has this fallback already"):
        call.fallback(right)
    with pytest.raises(errors.ConfigurationError, match="make both alike"):
        lazyguard.guarded()(awaitable).fallback(lambda a: a)


# retry


def test_retries(guard, there):
    """A call that fails is tried again, with its arguments; the last failure is raised."""
    there.fates = [OSError(1), OSError(2)]
    call = guard(retry=lazyguard.Retry(attempts=3, initial=0.0, on=OSError))
    assert call("x") == (("x",), {})
    assert there.calls == 3
    last = OSError(6)
    there.fates = [OSError(4), OSError(5), last]
    with pytest.raises(OSError) as caught:
        call("x")
    assert caught.value is last
    there.fates = [KeyError()]
    with pytest.raises(KeyError):
        call("x")
    assert there.calls == 7


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), lazyguard.CircuitOpen()])
def test_what_is_never_retried(guard, there, error):
    """Interruptions and another breaker's refusal."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit) and "acall" in guard().__code__.co_freevars:
        pytest.skip("they do not end a task, but its loop")
    there.fate = error
    with pytest.raises(type(error)):
        guard(retry=lazyguard.Retry(initial=0.0, on=BaseException))()
    assert there.calls == 1


def test_waits_are_waited(guard, there, clock, monkeypatch, race, limited):
    """Between attempts the clock goes on, not the processor."""
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    there.fates = [OSError()]
    call = guard(retry=lazyguard.Retry(attempts=2, initial=5.0))
    ended = threading.Event()

    def work() -> object:
        try:
            return call()
        finally:
            ended.set()

    def advance() -> bool:
        while there.calls == 0:
            pass
        early = ended.is_set()
        clock.advance(5.0)
        return early

    assert race(work, advance) == [((), {}), False]


def test_no_retry_passes_the_deadline(guard, there, clock, limited):
    """Neither the caller's nor the function's own: the failure is raised at once."""
    there.fate = OSError()
    retry = lazyguard.Retry(attempts=5, initial=1000.0, maximum=1000.0)
    with lazyguard.deadline(0.001), pytest.raises(OSError):
        guard(retry=retry)()
    with pytest.raises(OSError):
        guard(retry=retry, timeout=0.001)()
    assert there.calls == 2


# breaker


def test_the_breaker_counts_each_attempt(guard, there, clock):
    """Three attempts of one call open a breaker of three, and the next call is not made."""
    there.fate = OSError()
    call = guard(retry=lazyguard.Retry(attempts=3, initial=0.0), breaker=lazyguard.Breaker(failure_threshold=3))
    with pytest.raises(OSError):
        call()
    with pytest.raises(lazyguard.CircuitOpen, match="call, declared at .*, is not called"):
        call()
    assert there.calls == 3
    assert call.health().state == "open"
    clock.advance(10.0)
    there.fate = None
    call()
    assert call.health().state == "closed"


def test_an_opening_ends_the_retries(guard, there, clock, limited):
    """Once the breaker has opened no retry is waited for: the failure is raised."""
    there.fate = OSError()
    call = guard(
        retry=lazyguard.Retry(attempts=9, initial=0.0), breaker=lazyguard.Breaker(failure_threshold=2, open_time=5.0)
    )
    with pytest.raises(OSError):
        call()
    assert there.calls == 2


def test_success_ends_a_row(guard, there):
    """A call that ends well counts."""
    call = guard(breaker=lazyguard.Breaker(failure_threshold=2))
    for _ in range(3):
        there.fates = [OSError()]
        with pytest.raises(OSError):
            call()
        call()
    assert call.health().state == "closed"


def test_half_open_with_threads(there, clock, race, limited):
    """Of 50 threads at half-open one reaches the dependency, whether it is dead or alive."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
    def call():
        there()
        assert ready.wait(30)

    ready, held = threading.Event(), []

    def use() -> object:
        try:
            return call()
        except lazyguard.CircuitOpen:
            held.append(1)
            if len(held) == 49:
                ready.set()
            raise

    ready.set()
    there.fates = [OSError()]
    with pytest.raises(OSError):
        call()
    ready.clear()
    clock.advance(10.0)
    there.calls = 0
    found = race(*[use] * 50)
    assert there.calls == 1
    assert sum(isinstance(each, lazyguard.CircuitOpen) for each in found) == 49


def test_half_open_with_tasks(there, clock, limited):
    """Of 50 tasks one gets through; when it is cancelled the next one may."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
    async def call(wait: asyncio.Event | None = None):
        there()
        if wait is not None:
            await wait.wait()

    async def main() -> None:
        there.fates = [OSError()]
        with pytest.raises(OSError):
            await call()
        clock.advance(10.0)
        there.calls = 0
        never = asyncio.Event()
        tasks = [asyncio.ensure_future(call(never)) for _ in range(50)]
        while sum(task.done() for task in tasks) < 49:
            await asyncio.sleep(0)
        assert there.calls == 1
        (probe,) = [task for task in tasks if not task.done()]
        assert all(isinstance(task.exception(), lazyguard.CircuitOpen) for task in tasks if task is not probe)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert call.health().state == "half-open"
        await call()
        assert call.health().state == "closed"

    asyncio.run(main())


def test_a_stale_success(there, clock):
    """A call that was under way when the breaker opened does not close it."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
    def call(deeper: bool):
        if deeper:
            with pytest.raises(OSError):
                call(False)
        there()

    there.fates = [OSError()]
    call(True)
    assert call.health().state == "open"


# deadline


def test_a_sync_timeout_is_cooperative(there, clock):
    """The function asks what is left and hands it on; a call that was begun is never ended by force."""
    seen = []

    @lazyguard.guarded(timeout=5.0)
    def call() -> str:
        seen.append(lazyguard.remaining())
        clock.advance(3.0)
        seen.append(lazyguard.remaining())
        clock.advance(3.0)
        return "late, and kept"

    assert call() == "late, and kept"
    assert seen == pytest.approx([5.0, 2.0])
    assert lazyguard.remaining() is None


def test_a_sync_timeout_ends_what_asks(clock):
    """`remaining` raises, and tells whose timeout it was."""

    @lazyguard.guarded(name="call", timeout=5.0)
    def call() -> None:
        clock.advance(5.0)
        lazyguard.remaining()

    with pytest.raises(
        lazyguard.DeadlineExceeded, match="call, declared at .*, did not end within its timeout of 5.0 s"
    ):
        call()


def test_the_callers_deadline_is_shorter(guard, there, clock):
    """A call that begins after its caller's deadline is not made; the error names that deadline."""
    call = guard(timeout=50.0, breaker=lazyguard.Breaker(failure_threshold=1))
    with lazyguard.deadline(1.0):
        clock.advance(1.0)
        with pytest.raises(lazyguard.DeadlineExceeded, match="the deadline of 1 s, set at"):
            call()
    assert there.calls == 0
    assert call.health().state == "closed"


def test_an_async_timeout_cancels(clock, limited):
    """The call is cancelled where it waits, its `finally` runs, and DeadlineExceeded is raised from that place."""
    cleaned = []

    async def main() -> None:
        begun = asyncio.Event()

        @lazyguard.guarded(name="call", timeout=5.0, breaker=lazyguard.Breaker(failure_threshold=1))
        async def call() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(lazyguard.remaining)

        task = asyncio.ensure_future(call())
        await begun.wait()
        clock.advance(5.0)
        with pytest.raises(lazyguard.DeadlineExceeded, match="did not end within its timeout of 5.0 s") as caught:
            await task
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert len(cleaned) == 1
        assert call.health().state == "open"  # what takes too long has failed
        assert "DeadlineExceeded" in call.health().cause

    asyncio.run(main())


def test_a_callers_haste_does_not_count(clock, limited):
    """An async call that ends with its caller's shorter deadline says nothing about the dependency."""

    async def main() -> None:
        begun = asyncio.Event()

        @lazyguard.guarded(timeout=50.0, breaker=lazyguard.Breaker(failure_threshold=1))
        async def call() -> None:
            begun.set()
            await asyncio.Event().wait()

        async def use() -> None:
            with lazyguard.deadline(2.0):
                await call()

        task = asyncio.ensure_future(use())
        await begun.wait()
        clock.advance(2.0)
        with pytest.raises(lazyguard.DeadlineExceeded, match="the deadline of 2 s, set at"):
            await task
        assert call.health().state == "closed"

    asyncio.run(main())


def test_the_users_cancellation_passes(clock, limited):
    """A task that is cancelled ends as cancelled, with a timeout or without, and is not tried again."""
    begun = []

    async def main(**options) -> None:
        @lazyguard.guarded(retry=lazyguard.Retry(initial=0.0), **options)
        async def call() -> None:
            begun.append(1)
            await asyncio.Event().wait()

        @call.fallback
        async def _() -> None:
            raise AssertionError("it is no failure")

        task = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    asyncio.run(main(timeout=5.0))
    asyncio.run(main(timeout=5.0, breaker=lazyguard.Breaker()))
    assert len(begun) == 3


def test_a_foreign_timeout_inside(guard, there):
    """A TimeoutError of the function's own is not taken for ours, and is tried again like another failure."""
    own = TimeoutError("its own")
    there.fate = own
    with pytest.raises(TimeoutError) as caught:
        guard(timeout=60.0, retry=lazyguard.Retry(attempts=2, initial=0.0))()
    assert caught.value is own
    assert there.calls == 2


def test_the_timeout_holds_for_all_attempts(clock, limited):
    """One budget: the second attempt has what the first one left, and its wait counts."""
    seen = []

    @lazyguard.guarded(timeout=5.0, retry=lazyguard.Retry(attempts=2, initial=0.0))
    def call() -> str:
        seen.append(lazyguard.remaining())
        clock.advance(3.0)
        if len(seen) == 1:
            raise OSError
        return "here"

    assert call() == "here"
    assert seen == pytest.approx([5.0, 2.0])


def test_after_a_timeout_the_task_goes_on(clock, limited):
    """Nothing of the cancellation is left: the task can wait for other things, and cancelling it works."""

    async def main() -> None:
        begun = asyncio.Event()

        @lazyguard.guarded(timeout=5.0)
        async def call() -> None:
            begun.set()
            await asyncio.Event().wait()

        async def use() -> str:
            try:
                await call()
            except lazyguard.DeadlineExceeded:
                await asyncio.sleep(0)
                return "on"
            return "no"

        task = asyncio.ensure_future(use())
        await begun.wait()
        clock.advance(5.0)
        assert await task == "on"

    asyncio.run(main())


# fallback


def test_the_fallback_answers(guard, there):
    """With the call's arguments, and the cause where it has such a parameter."""
    there.fate = cause = OSError()
    assert guard(lambda *args, **named: ("instead", args, named))(1, b=2) == ("instead", (1,), {"b": 2})
    assert guard(lambda cause, *args, **named: (cause, args, named))(1, b=2) == (cause, (1,), {"b": 2})


def test_the_fallback_is_outermost(guard, there, clock):
    """It answers after the last retry, for an open breaker and for a timeout."""
    call = guard(
        lambda cause, *args: type(cause).__name__,
        retry=lazyguard.Retry(attempts=2, initial=0.0),
        breaker=lazyguard.Breaker(failure_threshold=2),
        timeout=5.0,
    )
    there.fate = OSError()
    assert call() == "OSError"
    assert there.calls == 2
    assert call() == "CircuitOpen"
    with lazyguard.deadline(1.0):
        clock.advance(1.0)
        assert call() == "DeadlineExceeded"


def test_interruptions_have_no_fallback(there):
    """Ctrl-C and an exit are not answered by a fallback."""
    call = lazyguard.guarded(breaker=lazyguard.Breaker())(there.__call__)
    call.fallback(lambda *args, **named: "instead")
    for error in (KeyboardInterrupt(), SystemExit()):
        there.fate = error
        with pytest.raises(type(error)):
            call()


def test_a_fallback_that_fails(guard, there):
    """Its own error is raised, and the first one is its context."""
    there.fate = OSError()
    failing = KeyError("x")

    def fallback(*args):
        raise failing

    with pytest.raises(KeyError) as caught:
        guard(fallback)()
    assert caught.value is failing
    assert caught.value.__context__ is there.fate


def test_denied(guard, there, monkeypatch):
    """`fallbacks("deny")` and LAZYGUARD_FALLBACK=deny hold for these too: the failure itself is raised."""
    there.fate = OSError()
    call = guard(lambda: "instead")
    assert call() == "instead"
    with lazyguard.fallbacks("deny"), pytest.raises(OSError):
        call()
    monkeypatch.setenv("LAZYGUARD_FALLBACK", "deny")
    with lazyguard.fallbacks("allow"), pytest.raises(OSError):
        call()


# seeing


def test_health(there):
    """A guarded function with a breaker is a check of `health()`: closed passes, open and half-open warn."""
    clock = FakeClock()
    with clock:
        call = lazyguard.guarded(name="a guarded call", breaker=lazyguard.Breaker(failure_threshold=1))(there.__call__)

        def check(seen=call.health) -> lazyguard.types.Check:
            (found,) = [each for each in lazyguard.health().checks if each.name == "a guarded call"]
            assert (found.kind, found.state) == ("guarded", seen().state)
            return found

        assert (check().status, check().state, check().since, check().cause) == ("pass", "closed", None, "")
        there.fate = OSError("secret")
        with pytest.raises(OSError):
            call()
        assert (check().status, check().state) == ("warn", "open")
        assert check().cause.startswith("OSError at ")
        assert "secret" not in str(lazyguard.health().to_dict())
        assert lazyguard.health().to_dict()["checks"]["a guarded call"][0]["observedValue"] == "open"
        call.reset()
        assert check().status == "pass"
    named = weakref.ref(call)
    del call, check
    there.fate = None  # whose traceback has the frames of calls
    gc.collect()
    assert named() is None
    assert all(each.name != "a guarded call" for each in lazyguard.health().checks)


def test_without_a_breaker_there_is_little_to_see():
    """`health()` of the function passes, and the whole has no check of it."""
    call = lazyguard.guarded(name="no breaker")(plain)
    assert (call.health().status, call.health().state) == ("pass", "closed")
    call.reset()
    assert all(each.name != "no breaker" for each in lazyguard.health().checks)


def test_no_lock_while_the_function_runs():
    """The function may use the breaker's lock itself."""
    from lazyguard._core import state

    @lazyguard.guarded(breaker=lazyguard.Breaker())
    def call() -> bool:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(state.lock.acquire(timeout=0)) or state.lock.release())
        thread.start()
        thread.join()
        return found[0]

    assert call()


@pytest.mark.parametrize("options", [{}, {"max_concurrent": 3}, {"key": len}], ids=repr)
def test_a_traceback_shows_the_line_that_calls(options):
    """The wrapper's code is made from a text, and has the lines of that text in its file."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(), **options)
    def call(word: str) -> str:
        if word == "stop":
            raise KeyboardInterrupt
        return word

    for word in ("first", "stop"):
        try:
            call(word)
        except KeyboardInterrupt as error:
            shown = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "fast"]
            source = linecache.getline(fast_path.__file__, shown[0])
    assert "function(*args, **named)" in source
