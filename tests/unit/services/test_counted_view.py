"""Calls on a service with `failures=`: which ones count in its breaker, and what happens when that opens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading
import time
import weakref

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core.cell import Cell
from lazyguard._proxies import views
from lazyguard._services import counted_view


class Client:
    """A client that fails while `down`, in each way in which a call can fail."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.down = False
        self.left: list[object] = []
        self.gate: threading.Event | None = None
        self.begun = threading.Event()

    def _check(self) -> None:
        if self.down:
            raise ConnectionError("secret")

    def get(self) -> int:
        if self.gate is not None:
            self.begun.set()
            assert self.gate.wait(60)
        self._check()
        return self.number

    def missing(self) -> int:
        raise KeyError

    async def aget(self) -> int:
        self._check()
        return self.number

    def scan(self):
        got = yield 1
        self._check()
        yield got
        return "over"

    async def ascan(self):
        got = yield 1
        self._check()
        yield got

    def rows(self) -> Rows:
        return Rows(self)

    def arows(self) -> AsyncRows:
        return AsyncRows(self)

    def cursor(self) -> Cursor:
        return Cursor(self)

    @property
    def state(self) -> int:
        self._check()
        return self.number

    def __len__(self) -> int:
        self._check()
        return 3

    def __iter__(self):
        yield self.number
        self._check()
        yield self.number

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.left.append(self)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left.append(self)


class Rows:
    """A plain iterator."""

    def __init__(self, client: Client) -> None:
        self._client, self._left = client, 2

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> int:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        self._client._check()
        return self._left


class AsyncRows:
    """A plain async iterator."""

    def __init__(self, client: Client) -> None:
        self._rows = Rows(client)

    def __aiter__(self) -> AsyncRows:
        return self

    async def __anext__(self) -> int:
        try:
            return next(self._rows)
        except StopIteration:
            raise StopAsyncIteration from None


class Cursor(Rows):
    """An iterator with further methods."""

    def execute(self) -> None: ...


@pytest.fixture
def declare():
    """Return a function that declares a service of clients, and lists them until the test ends."""
    declared = []

    def make(**options):
        made: list[Client] = []
        fates: list[BaseException] = []

        def factory() -> Client:
            if fates:
                raise fates.pop()
            made.append(Client(len(made)))
            return made[-1]

        options = {"recovery": None, "failures": (ConnectionError,), **options}
        get = lazyguard.service(name="db", **options)(factory)
        get.made, get.fates = made, fates
        declared.append(get)
        return get

    yield make
    for get in declared:
        get.reset()


def fails(get, times: int = 1, error: type[BaseException] = ConnectionError) -> None:
    """Let calls on the live reference fail."""
    client = get.require_real()
    client.down = True
    for _ in range(times):
        with pytest.raises(error):
            get().get()
    client.down = False


def generated(svc) -> None:
    list(svc.scan())


async def generated_async(svc) -> None:
    [_ async for _ in svc.ascan()]


async def iterated_async(svc) -> None:
    [_ async for _ in svc.arows()]


async def awaited(svc) -> None:
    await svc.aget()


def in_a_block(svc) -> None:
    with svc:
        svc.get()


async def in_an_async_block(svc) -> None:
    async with svc:
        svc.get()


@pytest.mark.parametrize(
    "use",
    [
        lambda svc: svc.get(),
        lambda svc: (svc.state, svc.get()),
        len,
        list,
        generated,
        generated_async,
        lambda svc: list(svc.rows()),
        iterated_async,
        awaited,
        in_a_block,
        in_an_async_block,
    ],
    ids="call property special iteration generator agenerator iterator aiterator coroutine with async-with".split(),
)
def test_what_counts(declare, use):
    """Three failures in a row, of each kind, take the client out of use; two and a success do not."""
    get = declare()
    get.fallback(lambda: Client())
    svc = get()
    client = get.require_real()

    def once() -> None:
        result = use(svc)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    for times in (2, 3):
        client.down = True
        for _ in range(times):
            assert get.health().state == "ready"
            with pytest.raises(ConnectionError):
                once()
        client.down = False
        assert get.health().state == ("ready" if times == 2 else "failed")
        once()
    assert lazyguard.is_fallback(svc)


def test_what_does_not_count(declare):
    """Other errors count as successes; cancelled or dropped calls do not count; a cursor is not wrapped."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=2))
    svc, client = get(), get.require_real()
    fails(get)
    with pytest.raises(KeyError):
        svc.missing()
    cursor = svc.cursor()
    assert type(cursor) is Cursor
    fails(get)
    client.down = True
    generator = svc.scan()
    assert next(generator) == 1
    generator.close()
    with pytest.raises(ConnectionError):
        next(cursor)
    assert get.health().state == "ready"
    with pytest.raises(ConnectionError):
        svc.get()
    assert get.health().state == "failed"


def test_comparisons_are_no_successes(declare):
    """A call that fails each time opens the breaker, also with truth tests and comparisons in between."""
    get = declare()
    for _ in range(3):
        assert get()
        assert get() != 3
        assert get().number == 0
        fails(get)
    assert get.health().state == "failed"


def test_iterators_are_like_themselves(declare):
    """A counted generator is a generator with send, throw and return; another iterator keeps its class."""
    get = declare()
    svc = get()
    generator = svc.scan()
    assert inspect.isgenerator(generator)
    assert next(generator) == 1
    assert generator.send("sent") == "sent"
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "over"
    with pytest.raises(ValueError):
        svc.scan().throw(ValueError)
    rows = svc.rows()
    assert isinstance(rows, Rows)
    assert iter(rows) is rows
    assert list(rows) == [1, 0]
    assert isinstance(svc.arows(), AsyncRows)
    assert svc.arows().__aiter__() is not None

    async def use() -> None:
        generator = svc.ascan()
        assert inspect.isasyncgen(generator)
        assert await generator.asend(None) == 1
        assert await generator.asend("sent") == "sent"
        with pytest.raises(StopAsyncIteration):
            await generator.asend(None)
        other = svc.ascan()
        assert await other.__anext__() == 1
        with pytest.raises(ValueError):
            await other.athrow(ValueError)
        third = svc.ascan()
        await third.__anext__()
        await third.aclose()
        assert inspect.iscoroutine(waiting := svc.aget())
        assert await waiting == 0

    asyncio.run(use())
    assert get.health().state == "ready"


def test_a_rate_over_a_window_of_calls(declare):
    """The breaker's options hold: half of the last four calls."""
    get = declare(breaker=lazyguard.Breaker(failure_rate=0.5, window_calls=4, minimum_calls=4))
    fails(get)
    assert get().get() == get().get() == 0
    assert get.health().state == "ready"
    fails(get)
    assert get.health().state == "failed"


def test_a_rate_over_a_window_of_time(declare, clock):
    """A call that ended before the window does not count."""
    get = declare(breaker=lazyguard.Breaker(failure_rate=0.5, window_seconds=10.0, minimum_calls=2))
    fails(get)
    clock.advance(11.0)
    fails(get)
    assert get.health().state == "ready"
    fails(get)
    assert get.health().state == "failed"


def test_what_the_breaker_ignores(declare):
    """An exception of `ignore` is no failure, although `failures` has it."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1, ignore=(ConnectionResetError,)))
    client = get.require_real()
    client._check = lambda: (_ for _ in ()).throw(ConnectionResetError())
    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            get().get()
    assert get.health().state == "ready"
    del client._check
    fails(get)
    assert get.health().state == "failed"


def test_failures_without_a_breaker(declare):
    """The default is `Breaker()`: three failures in a row."""
    get = declare()
    fails(get, 2)
    assert get().get() == 0
    fails(get, 3)
    assert get.health().state == "failed"


def test_a_stale_outcome_never_counts(declare, limited):
    """A call that began on an older target does not count for the present one."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1))
    old = get.require_real()
    old.gate = threading.Event()
    told: list[BaseException] = []
    send, iterator, coroutine = get().get, get().scan(), get().aget()
    next(iterator)

    def call() -> None:
        try:
            send()
        except ConnectionError as error:
            told.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert old.begun.wait(30)
    get.reset()
    assert get().get() == 1
    old.down = True
    old.gate.set()
    thread.join(30)
    assert len(told) == 1
    with pytest.raises(ConnectionError):
        list(iterator)
    with pytest.raises(ConnectionError):
        asyncio.run(coroutine)
    with pytest.raises(ConnectionError):
        send()
    assert get.health().state == "ready"
    assert get().get() == 1


def test_one_opening(declare, race, story, limited):
    """Many calls that fail at one moment open the breaker once."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=3))
    get.fallback(lambda: Client())
    client = get.require_real()
    client.down, client.gate = True, threading.Event()
    opening = threading.Timer(0.0, client.gate.set)

    def call() -> None:
        with contextlib.suppress(ConnectionError):
            get().get()

    opening.start()
    assert race(*[call] * 16) == [None] * 16
    assert get().get() == 0
    story.until("ready", "failed", "degraded")
    assert get.health().generation == 1


def test_refused_until_the_recovery_has_built(declare, clock, story, limited):
    """Without a fallback a caller gets `retry_after`, and no caller builds; after the recovery all are served."""
    get = declare(recovery=lazyguard.Recovery(initial=4.0, maximum=4.0))
    svc = get()
    fails(get, 3)
    get.fates.append(OSError())
    for use in (lambda: svc.get(), lambda: len(svc), lambda: svc.number, lambda: asyncio.run(get.aget())):
        with pytest.raises(
            errors.CircuitOpen, match=r"db, declared at .*ConnectionError at .*in the background in"
        ) as told:
            use()
        assert isinstance(told.value, errors.ServiceUnavailable)
        assert 2.0 <= told.value.retry_after <= 4.0
        assert isinstance(told.value.__cause__, ConnectionError)
        assert "secret" not in str(told.value)
    assert len(get.made) == 1
    assert get.fates
    # time stands still for what has begun: an attempt that a busy machine holds up would be too late
    idle = lambda: get.health().running == 0  # noqa: E731
    _until(lambda: idle() and (not get.fates or clock.advance(1.0)))
    with pytest.raises(errors.CircuitOpen):
        svc.get()
    story.until("ready", "failed", "failed")
    _until(lambda: idle() and (get.health().state == "ready" or clock.advance(1.0)))
    assert svc.get() == 1
    story.until("ready", "failed", "failed", "recovered")


def _until(condition) -> None:
    until = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.001)


def test_half_open_without_a_recovery(declare, clock, race, story, limited):
    """Without a recovery no caller builds until the open time is over; then one does, and the others join."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1, open_time=10.0, max_open_time=40.0))
    svc = get()
    fails(get)
    for _ in range(5):
        with pytest.raises(errors.CircuitOpen) as told:
            svc.get()
        assert 5.0 <= told.value.retry_after <= 10.0
    get.fates.append(OSError())  # none of `failures`: it is not well again all the same
    clock.advance(10.0)
    with pytest.raises(errors.ResolutionError):
        svc.get()
    assert not get.fates
    with pytest.raises(errors.CircuitOpen) as told:
        svc.get()
    assert 10.0 <= told.value.retry_after <= 20.0
    clock.advance(20.0)
    answers = race(*[lambda: svc.get()] * 8)
    assert 1 in answers
    assert all(answer == 1 or isinstance(answer, errors.CircuitOpen) for answer in answers)
    assert len(get.made) == 2
    assert svc.get() == 1
    fails(get)
    with pytest.raises(errors.CircuitOpen):
        svc.get()


def test_a_retry_respects_it(declare):
    """A guarded function that meets the open breaker is not retried."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1))
    fails(get)
    calls = []

    @lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.001))
    def use() -> int:
        calls.append(1)
        return get().get()

    with pytest.raises(errors.CircuitOpen):
        use()
    assert calls == [1]


def test_the_real_one_is_tried_on_demand(declare):
    """`require_real` and a reset are not refused."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1))
    fails(get)
    assert get.require_real().number == 1
    fails(get)
    get.reset()
    assert get().get() == 2


def test_an_async_service_whose_loop_is_gone(clock, limited):
    """Without its loop a recovery cannot build: after the open time a caller can, on its own loop."""

    @lazyguard.service(
        name="db", failures=ConnectionError, breaker=lazyguard.Breaker(failure_threshold=1, open_time=10.0)
    )
    async def get() -> Client:
        return Client()

    async def use(down: bool) -> int:
        client = await get.aget()
        get.__lazyguard_cell__().now.target.down = down
        return await client.aget()

    with pytest.raises(ConnectionError):
        asyncio.run(use(True))
    with pytest.raises(errors.CircuitOpen):
        asyncio.run(use(False))
    clock.advance(10.0)
    assert asyncio.run(use(False)) == 0
    get.reset()


def test_one_wrapper_a_method(declare):
    """A method is wrapped once for a target, and anew if it was replaced."""
    get = declare()
    svc, client = get(), get.require_real()
    assert svc.get is svc.get
    assert svc.get.__name__ == "get"
    assert inspect.signature(svc.get) == inspect.signature(client.get)
    before = svc.get
    client.get = lambda: 42
    assert svc.get() == 42
    assert before() == 0
    other = Client(7)
    client.get = other.get
    assert svc.get() == 7
    get.reset()
    assert svc.get() == 1
    assert before() == 0


def test_without_failures_it_is_a_resolved_proxy(declare):
    """Without `failures=` the class is that of any resolved proxy: the builtin getattr, bound to the target."""
    get = declare(failures=())
    svc, client = get(), get.require_real()
    plain = lazyguard._proxies.proxy.bound(get.__lazyguard_cell__(), get.__lazyguard_cell__().now)
    kind = type(svc)
    assert kind.__name__ == plain.__name__
    assert kind.__bases__ == plain.__bases__
    assert vars(kind).keys() == vars(plain).keys()
    own = vars(kind)["__getattribute__"]
    assert type(own) is views.MethodType
    assert (own.__func__, own.__self__) == (getattr, client)
    assert svc.get == client.get


def test_a_replaced_target_is_released(declare):
    """No view, wrapper or breaker keeps a replaced target: it goes with its last user, without a full collection."""
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1))
    svc = get()
    assert svc.get() == 0
    assert len(svc) == 3
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(get.made.pop())
        get.reset()
        assert gone() is None
    finally:
        gc.enable()


def test_a_block_ends_on_its_target(declare, clock, story, limited):
    """A `with` block keeps its target, also at the first use, across an opening, and on a fallback."""
    fallback = Client(100)
    get = declare(breaker=lazyguard.Breaker(failure_threshold=1), recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    get.fallback(lambda: fallback)
    svc = get()
    with svc as first:
        fails(get)
        assert svc.get() == 100
        with svc as second:
            clock.advance(1.0)
            story.until("ready", "failed", "degraded", "recovered")
            assert svc.get() == 1
    assert (first.left, second.left, get.made[1].left) == ([first], [fallback], [])
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(svc) is get.made[1]
    assert get.made[1].left == [get.made[1]]


def test_threads_that_show_one_target_at_once(monkeypatch):
    """Threads that show one target at once count in one breaker."""
    cell = Cell(list, name="db", place="here:1")
    made: list[counted_view.TargetCircuit] = []

    class Raced(counted_view.TargetCircuit):
        def __init__(self, *arguments, **named) -> None:
            super().__init__(*arguments, **named)
            if not made:
                made.append(self)
                made.append(counted_view.circuit_of(cell, 1, (OSError,), None))

    monkeypatch.setattr(counted_view, "TargetCircuit", Raced)
    assert counted_view.circuit_of(cell, 1, (OSError,), None) is made[1]
    assert counted_view.circuit_of(cell, 1, (OSError,), None) is made[1]
