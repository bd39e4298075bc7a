"""`key=`, `max_concurrent=`, `slow_call_duration=`, isolation by hand, and the switch for an incident."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._policies import circuit


def twins(**options):
    """Return a guard as a decorator of sync functions: the function itself, and an async twin that is run."""
    guard = lazyguard.guarded(name="call", **options)

    def plain(function):
        return guard(function)

    def awaited(function):
        @guard
        async def work(*args, **named):
            return function(*args, **named)

        def call(*args, **named):
            return asyncio.run(work(*args, **named))

        for handle in ("fallback", "health", "isolate", "reset"):
            setattr(call, handle, getattr(work, handle))
        return call

    return plain, awaited


@pytest.fixture(params=["sync", "async"])
def guard(request):
    def make(**options):
        return twins(**options)[request.param == "async"]

    return make


# key


def test_a_breaker_a_key(guard):
    """The hosts of a function open and close each for itself; health tells how many, and shows no key."""
    away = {"secret.example"}

    def ask(host, path="/"):
        if host in away:
            raise ConnectionError
        return host

    call = guard(breaker=lazyguard.Breaker(failure_threshold=2, open_time=5.0), key=lambda host, *_, **__: host)(ask)
    for _ in range(2):
        assert call("other") == "other"
        with pytest.raises(ConnectionError):
            call("secret.example", path="/x")
    with pytest.raises(lazyguard.CircuitOpen) as caught:
        call("secret.example")
    assert call("other", "/y") == "other"
    check = call.health()
    assert (check.state, check.status) == ("open", "warn")
    assert check.cause.startswith("1 of 2 keys: ConnectionError at ")
    assert "secret" not in str(check.to_dict()) + str(caught.value)
    call.isolate()
    for host in ("other", "a new one"):
        with pytest.raises(lazyguard.CircuitOpen, match="isolate"):
            call(host)
    assert call.health().cause == "3 of 3 keys: isolate()"
    call.reset()
    away.clear()
    assert [call(host) for host in ("other", "secret.example", "one more")] == ["other", "secret.example", "one more"]
    assert call.health().state == "closed"


def test_keys_are_bounded(monkeypatch):
    """Of too many keys those go that are closed and were not asked lately; an open one stays."""
    monkeypatch.setattr(circuit, "MOST", 20)

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1), key=lambda host: host)
    def ask(host):
        if host < 0:
            raise ConnectionError
        return host

    with pytest.raises(ConnectionError):
        ask(-1)
    for host in range(500):
        ask(host)
        ask(7)
    kept = ask.fallback.__self__.circuit
    assert len(kept.known) <= 20
    assert {-1, 7, 499} <= set(kept.known)
    with pytest.raises(lazyguard.CircuitOpen):
        ask(-1)


def test_wrong_keys():
    """A key without a breaker, one that is no function, and one that cannot be a key are refused."""
    with pytest.raises(errors.ConfigurationError, match="give breaker= too"):
        lazyguard.guarded(key=len)
    with pytest.raises(errors.ConfigurationError, match="key="):
        lazyguard.guarded(key=3, breaker=lazyguard.Breaker())
    call = lazyguard.guarded(key=list, breaker=lazyguard.Breaker())(lambda: 1)
    with pytest.raises(errors.UsageError, match="of type list, which cannot be a key"):
        call()


# max_concurrent


def test_so_many_at_a_time(told):
    """Exactly so many calls get in, all others are refused at once; an end makes room; the breaker counts nothing."""
    inside, leave, refused, answers = threading.Semaphore(0), threading.Event(), [], []

    @lazyguard.guarded(max_concurrent=3, breaker=lazyguard.Breaker(failure_threshold=1), retry=lazyguard.Retry())
    def work():
        inside.release()
        leave.wait(30)
        return "done"

    leave.set()
    work()
    assert inside.acquire(timeout=10)
    leave.clear()
    begin = threading.Barrier(12)

    def call() -> None:
        begin.wait(30)
        try:
            answers.append(work())
        except lazyguard.ServiceUnavailable as error:
            refused.append(error)
            if len(refused) == 9:
                leave.set()

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(answers), len(refused)) == (3, 9)
    assert "3 calls of it are under way (max_concurrent=)" in str(refused[0])
    assert work() == "done"
    assert work.health().state == "closed"
    assert not work.fallback.__self__.places.calls


def test_so_many_tasks_at_a_time():
    """The same for tasks; the fallback answers those that are refused, and a cancelled call gives its place back."""

    @lazyguard.guarded(max_concurrent=2)
    async def work(go_on):
        await go_on.wait()
        return "done"

    @work.fallback
    async def _(go_on):
        return "busy"

    async def main() -> None:
        go_on = asyncio.Event()
        tasks = [asyncio.create_task(work(go_on)) for _ in range(4)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        later = asyncio.create_task(work(go_on))
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*tasks[1:], later) == ["done", "busy", "busy", "done"]

    asyncio.run(main())
    assert not work.fallback.__self__.places.calls


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_places_are_free_in_a_child(in_child, timeout):
    """The calls of the parent's other threads are none of the child's; one that forks goes on in both."""
    begun, go = threading.Event(), threading.Event()

    @lazyguard.guarded(max_concurrent=2, timeout=timeout)
    def call(work):
        return work()

    def hold() -> None:
        begun.set()
        assert go.wait(30)

    def inner() -> None:
        assert [call(lambda: call(lambda: 3)) for _ in range(3)] == [3, 3, 3]

    call(int)
    thread = threading.Thread(target=call, args=(hold,))
    thread.start()
    assert begun.wait(30)
    assert in_child(inner) == 0
    assert call(lambda: in_child(inner)) == 0
    go.set()
    thread.join(30)
    assert call(lambda: call(lambda: 4)) == 4


@pytest.mark.parametrize("interrupt", [ConnectionError, KeyboardInterrupt])
@pytest.mark.parametrize("timeout", [None, 9.0])
def test_places_are_given_back(guard, interrupt, timeout):
    """A call that fails, with its retries, or is interrupted gives its place back, and has but one."""
    raises = [interrupt] * 2

    def work():
        if raises:
            raise raises.pop()
        return 1

    call = guard(max_concurrent=1, timeout=timeout, retry=lazyguard.Retry(attempts=2, initial=0.0))(work)
    while raises:
        with pytest.raises(interrupt):
            call()
            call()
    assert call() == 1


# slow_call_duration


def test_slow_calls_open(guard, clock):
    """Calls that take too long open the breaker however they end; quick ones do not, and close it again."""
    takes = [1.5]

    def work():
        clock.advance(takes[0])
        if takes[0] == 3.0:
            raise KeyError
        return takes[0]

    breaker = lazyguard.Breaker(failure_threshold=2, slow_call_duration=1.0, open_time=5.0, on=(OSError,))
    call = guard(breaker=breaker)(work)
    takes[0] = 0.5
    call()
    takes[0] = 1.5
    assert call() == 1.5
    takes[0] = 3.0
    with pytest.raises(KeyError):
        call()
    assert call.health().state == "open"
    assert call.health().cause == "TimeoutError"
    clock.advance(5.0)
    takes[0] = 0.5
    call()
    assert call.health().state == "closed"


def test_a_slow_service(clock):
    """Slow calls of a service's object take it out of use, those that are awaited too."""

    class Db:
        def ask(self) -> str:
            clock.advance(2.0)
            return "slow"

        async def aask(self) -> str:
            return self.ask()

    class NoDb(Db):
        def ask(self) -> str:
            return "none"

    breaker = lazyguard.Breaker(failure_threshold=2, slow_call_duration=1.0)

    @lazyguard.service(failures=(OSError,), breaker=breaker, recovery=None)
    def get_db() -> Db:
        return Db()

    @get_db.fallback
    def _() -> Db:
        return NoDb()

    db = get_db()
    assert [db.ask(), asyncio.run(db.aask()), db.ask()] == ["slow", "slow", "none"]


# isolation, and the switch


def test_isolation(guard, told):
    """An isolated function is not called until it is reset; one without a breaker cannot be isolated."""
    call = guard(breaker=lazyguard.Breaker())(lambda: 1)
    assert call() == 1
    call.isolate()
    with pytest.raises(lazyguard.CircuitOpen, match="isolate"):
        call()
    assert (call.health().state, call.health().cause) == ("open", "isolate()")
    call.reset()
    assert call() == 1
    assert [(event.kind, event.cause) for event in told] == [("opened", "isolate()"), ("closed", "")]
    with pytest.raises(errors.UsageError, match="has no breaker"):
        guard()(lambda: 1).isolate()


@pytest.fixture
def switch():
    yield lazyguard.set_active
    lazyguard.set_active(True)


@pytest.mark.parametrize("timeout", [None, 9.0])
def test_switched_off(guard, switch, timeout):
    """Calls go straight through: no retry, breaker, limit, deadline or fallback; health says so; and on again."""
    made = []

    def work():
        made.append(lazyguard.remaining())
        raise ConnectionError

    retry, breaker = lazyguard.Retry(attempts=2, initial=0.0), lazyguard.Breaker(failure_threshold=2, open_time=60.0)
    call = guard(timeout=timeout, retry=retry, breaker=breaker, max_concurrent=1)(work)
    for _ in range(2):
        with pytest.raises((ConnectionError, lazyguard.CircuitOpen)), lazyguard.fallbacks("deny"):
            call()
    assert call.health().state == "open"
    switch(False)
    made.clear()
    for _ in range(3):
        with pytest.raises(ConnectionError), lazyguard.deadline(5.0):
            call()
    assert made == [None] * 3
    assert (lazyguard.health().active, lazyguard.health().status) == (False, "warn")
    assert "set_active(False)" in lazyguard.health().to_dict()["notes"][0]
    switch(True)
    with pytest.raises(lazyguard.CircuitOpen), lazyguard.fallbacks("deny"):
        call()
    assert "notes" not in lazyguard.health().to_dict()


def test_services_switched_off(switch):
    """A use of a service that is degraded builds it, and a failure of that reaches its caller; nothing counts."""
    fate: list[BaseException] = [ConnectionError()]

    class Db:
        def ask(self) -> str:
            if fate:
                raise fate[0]
            return "real"

    class NoDb(Db):
        def ask(self) -> str:
            return "none"

    @lazyguard.service(
        timeout=5.0,
        retry=lazyguard.Retry(attempts=3, initial=0.0),
        failures=(OSError,),
        breaker=lazyguard.Breaker(failure_threshold=1),
        recovery=None,
    )
    def get_db() -> Db:
        made.append(1)
        if fate:
            raise fate[0]
        return Db()

    @get_db.fallback
    def _() -> Db:
        return NoDb()

    made: list[int] = []
    db = get_db()
    assert db.ask() == "none"
    assert len(made) == 3
    switch(False)
    with pytest.raises(lazyguard.ResolutionError):
        db.ask()
    assert len(made) == 4
    gone, fate[:] = fate[:], []
    assert db.ask() == "real"
    fate[:] = gone
    for _ in range(3):
        with pytest.raises(ConnectionError):
            db.ask()
    switch(True)
    with pytest.raises(ConnectionError):
        db.ask()
    assert db.ask() == "none"


def test_switched_off_by_the_environment():
    """LAZYGUARD_ACTIVE=0 holds from the start of the process, and for what was declared before anything was called."""
    program = (
        "import lazyguard\n"
        "tries = []\n"
        "@lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.0))\n"
        "def work():\n    tries.append(1)\n    raise ConnectionError\n"
        "try: work()\nexcept ConnectionError: pass\n"
        "print(len(tries), lazyguard.health().active)\n"
    )
    for value, said in (("0", "1 False"), ("off", "1 False"), ("1", "3 True"), ("", "3 True")):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "LAZYGUARD_ACTIVE": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout.strip() == said
