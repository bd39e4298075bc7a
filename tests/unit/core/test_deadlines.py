"""What `deadline` and `remaining` promise: one budget, only ever less, in threads, tasks, waits and retries."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import deadlines as deadlines


def test_outside_there_is_none():
    """Without a block nothing is limited."""
    assert lazyguard.remaining() is None


def test_it_runs_from_the_call(clock):
    """The time runs from the call of `deadline`, and what is left falls with the clock."""
    budget = lazyguard.deadline(5.0)
    clock.advance(1.0)
    with budget as entered:
        assert entered is budget
        assert lazyguard.remaining() == pytest.approx(4.0)
        clock.advance(3.0)
        assert lazyguard.remaining() == pytest.approx(1.0)
    assert lazyguard.remaining() is None
    assert repr(budget) == "<deadline of 5 s>"


def test_it_only_shrinks(clock):
    """The earlier one counts, whichever is inside; after the inner block the outer one holds again."""
    with lazyguard.deadline(5.0):
        with lazyguard.deadline(60.0), lazyguard.deadline(2.0), lazyguard.deadline(3.0):
            assert lazyguard.remaining() == pytest.approx(2.0)
        with lazyguard.deadline(60.0):
            assert lazyguard.remaining() == pytest.approx(5.0)
        assert lazyguard.remaining() == pytest.approx(5.0)


def test_nothing_left(clock):
    """It is told by an error, which is a TimeoutError and says where the deadline was set; never by a zero."""
    with lazyguard.deadline(1.5):
        clock.advance(1.5)
        with pytest.raises(lazyguard.DeadlineExceeded, match=rf"deadline of 1.5 s, set at {__file__}:\d+") as caught:
            lazyguard.remaining()
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, lazyguard.LazyguardError)


@pytest.mark.parametrize("seconds", [0, -1, True, "1", None, float("nan"), float("inf")])
def test_no_number_of_seconds(seconds):
    """It is refused where it is given."""
    with pytest.raises(errors.ConfigurationError, match="give more than zero seconds"):
        lazyguard.deadline(seconds)


def test_the_end_of_a_block_that_raises(clock):
    """The block ends however it ends."""
    with pytest.raises(KeyError), lazyguard.deadline(5.0):
        raise KeyError
    assert lazyguard.remaining() is None


# threads and tasks


def test_tasks_have_it(clock):
    """A task that is created in the block has its deadline; one created outside has none."""

    async def left() -> float | None:
        return lazyguard.remaining()

    async def main() -> list[float | None]:
        outside = asyncio.ensure_future(left())
        with lazyguard.deadline(5.0):
            inside = asyncio.ensure_future(left())
            threaded = await asyncio.to_thread(lazyguard.remaining)
        return [await outside, await inside, threaded]

    assert asyncio.run(main()) == [None, pytest.approx(5.0), pytest.approx(5.0)]


def test_tasks_do_not_share_blocks(clock):
    """Blocks of interleaved tasks do not touch each other."""

    async def work(seconds: float) -> float | None:
        with lazyguard.deadline(seconds):
            for _ in range(5):
                await asyncio.sleep(0)
            return lazyguard.remaining()

    async def main() -> list[float | None]:
        return await asyncio.gather(*(work(float(seconds)) for seconds in range(1, 20)))

    assert asyncio.run(main()) == pytest.approx([float(seconds) for seconds in range(1, 20)])


def test_another_thread_enters_it(clock):
    """The object can be entered by many threads at once, which share what is left."""

    def work() -> float | None:
        with budget:
            return lazyguard.remaining()

    with lazyguard.deadline(5.0) as budget, ThreadPoolExecutor(8) as pool:
        clock.advance(1.0)
        assert [found.result() for found in [pool.submit(work) for _ in range(8)]] == pytest.approx([4.0] * 8)
        assert pool.submit(contextvars.copy_context().run, lazyguard.remaining).result() == pytest.approx(4.0)
    assert lazyguard.remaining() is None


# waits for cells


@pytest.fixture
def hanging():
    """Return a factory that waits until the end of the test, and an event that says it has begun."""
    begun, leave = threading.Event(), threading.Event()

    def make() -> str:
        begun.set()
        assert leave.wait(60)
        return "here"

    make.begun, make.leave = begun, leave
    yield make
    leave.set()


def test_a_wait_ends_with_the_deadline(clock, hanging, race, story, limited):
    """A caller waits no longer than its deadline, though the service's timeout is longer; the attempt is adopted."""
    get = lazyguard.service(name="db", timeout=50.0)(hanging)

    def use() -> object:
        with lazyguard.deadline(2.0):
            return get().upper()

    def advance() -> None:
        assert hanging.begun.wait(30)
        clock.advance(2.0)

    error, _ = race(use, advance)
    assert isinstance(error, lazyguard.errors.ResolutionTimeout)
    assert isinstance(error, lazyguard.DeadlineExceeded)
    assert "db, declared at" in str(error)
    assert "the deadline of 2 s, set at" in str(error)
    hanging.leave.set()
    story.until("timeout", "ready")
    assert get().upper() == "HERE"


def test_the_services_own_timeout_is_not_the_deadline(clock, hanging, race, limited):
    """Where the timeout ends first, that is what is told."""
    get = lazyguard.service(name="db", timeout=2.0)(hanging)

    def use() -> object:
        with lazyguard.deadline(50.0):
            return get().upper()

    def advance() -> None:
        assert hanging.begun.wait(30)
        clock.advance(2.0)

    error, _ = race(use, advance)
    assert type(error) is lazyguard.errors.ResolutionTimeout


def test_one_callers_deadline_degrades_nobody(clock, hanging, race, limited):
    """A caller in haste gets its own error, and no fallback is served to all on its account."""
    get = lazyguard.service(name="db", timeout=50.0)(hanging)
    get.fallback(lambda: "a fallback")

    def use() -> object:
        with lazyguard.deadline(2.0):
            return get().upper()

    def advance() -> None:
        assert hanging.begun.wait(30)
        clock.advance(2.0)

    error, _ = race(use, advance)
    assert isinstance(error, lazyguard.DeadlineExceeded)
    assert get.health().state == "resolving"
    assert get.health().running == 1


def test_a_deadline_that_has_passed(clock, plant):
    """Nothing is begun; what is there already is served."""
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    with lazyguard.deadline(1.0):
        clock.advance(1.0)
        with pytest.raises(lazyguard.DeadlineExceeded):
            get().work()
    assert plant.things == []
    assert get().work() == "done"
    with lazyguard.deadline(1.0):
        clock.advance(1.0)
        assert get().work() == "done"


def test_a_wait_in_a_task(clock, limited):
    """`aget` waits no longer than the task's deadline."""

    async def main() -> None:
        release, begun = asyncio.Event(), asyncio.Event()

        @lazyguard.service(timeout=50.0, recovery=None)
        async def get() -> str:
            begun.set()
            await release.wait()
            return "here"

        async def use() -> str:
            with lazyguard.deadline(2.0):
                return (await get.aget()).upper()

        task = asyncio.ensure_future(use())
        await begun.wait()
        clock.advance(2.0)
        with pytest.raises(lazyguard.DeadlineExceeded):
            await task
        release.set()
        assert (await get.aget()).upper() == "HERE"

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [None, 50.0])
def test_an_attempt_has_no_deadline(clock, timeout, limited):
    """A factory sees its first caller's context variables, but not its deadline; afterwards the caller has it again."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("the caller's")
    seen = []

    @lazyguard.service(timeout=timeout)
    def get() -> str:
        seen.append((variable.get(), lazyguard.remaining()))
        with lazyguard.deadline(1.0):
            seen.append(lazyguard.remaining())
        return "here"

    with lazyguard.deadline(5.0):
        assert get().upper() == "HERE"
        assert lazyguard.remaining() == pytest.approx(5.0)
    assert seen == [("the caller's", None), pytest.approx(1.0)]


def test_an_async_attempt_has_no_deadline(clock, limited):
    """The same for an async factory, whose task has a context of its own."""
    seen = []

    @lazyguard.service()
    async def get() -> str:
        seen.append(lazyguard.remaining())
        return "here"

    async def main() -> None:
        with lazyguard.deadline(5.0):
            assert (await get.aget()).upper() == "HERE"
            assert lazyguard.remaining() == pytest.approx(5.0)

    asyncio.run(main())
    assert seen == [None]


def test_retries_on_the_callers_thread(clock, plant, limited):
    """Where the caller's own thread builds, no retry is waited for that would pass its deadline."""
    get = lazyguard.service(
        name="db", retry=lazyguard.Retry(attempts=5, initial=1000.0, maximum=1000.0), recovery=None
    )(plant.make)
    plant.fate = OSError()
    with lazyguard.deadline(0.001), pytest.raises(lazyguard.ResolutionError) as caught:
        get().work()
    assert caught.value.__cause__ is plant.fate


def test_no_block_is_left(clock):
    """Where blocks were ended, nothing keeps them."""

    def work():
        with lazyguard.deadline(1.0), deadlines.Unlimited(), deadlines.Unlimited(), lazyguard.deadline(2.0):
            assert lazyguard.remaining() == pytest.approx(2.0)
        assert not deadlines._blocks.get()

    contextvars.Context().run(work)


def test_what_an_interruption_has_left_open_ends_with_the_block_around_it(clock):
    """An attempt that was interrupted amid leaving its block does not leave the caller's expired deadline behind."""

    def work():
        with lazyguard.deadline(1.0):
            deadlines.Unlimited().__enter__()
        assert not deadlines._blocks.get()
        for _ in range(3):
            deadlines.Unlimited().__enter__()
        assert len(deadlines._blocks.get()) == 1

    contextvars.Context().run(work)


def test_a_generator_that_ends_in_anothers_block(clock):
    """Its own deadline ends with it, and those that were set meanwhile go on, each until its own end."""

    def parts():
        with lazyguard.deadline(5.0):
            yield

    work = parts()
    next(work)
    with lazyguard.deadline(3.0):
        with lazyguard.deadline(2.0):
            work.close()
            assert lazyguard.remaining() == 2.0
        assert lazyguard.remaining() == 3.0
    assert lazyguard.remaining() is None


def test_a_deadline_that_is_entered_again_inside_itself(clock):
    """Each end of a block ends one of them, the innermost."""
    budget = lazyguard.deadline(1.0)
    with budget:
        with budget, lazyguard.deadline(0.5):
            assert lazyguard.remaining() == 0.5
        assert lazyguard.remaining() == 1.0
    assert lazyguard.remaining() is None


@pytest.mark.parametrize("make", [lambda: lazyguard.deadline(5.0), deadlines.Unlimited])
def test_a_block_that_ends_in_another_context(clock, make):
    """Left in another context than it was entered in, as by a closed async generator, it takes nothing away there."""
    block = make()
    elsewhere = contextvars.Context()
    elsewhere.run(block.__enter__)
    contextvars.Context().run(block.__exit__, None, None, None)
    with lazyguard.deadline(2.0):
        elsewhere.run(block.__exit__, None, None, None)
        assert lazyguard.remaining() == 2.0
    assert elsewhere.run(lazyguard.remaining) is None


def test_work_that_is_done_in_parts(clock):
    """Each part has the deadline of the work, with the blocks that the one before has left open."""
    work = deadlines.Reach(lazyguard.deadline(4.0))
    inner = lazyguard.deadline(1.0)
    with lazyguard.deadline(9.0):
        with work:
            assert lazyguard.remaining() == 4.0
            inner.__enter__()
        assert lazyguard.remaining() == 9.0
        with work:
            assert lazyguard.remaining() == 1.0
            inner.__exit__(None, None, None)
            assert lazyguard.remaining() == 4.0
        assert lazyguard.remaining() == 9.0
    assert lazyguard.remaining() is None
