"""The bulkhead: many keys of one service have no more attempts, threads and recoveries than one process can bear."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._policies import bulkhead as module

pytestmark = pytest.mark.usefixtures("limited")


class Database:
    """A server behind all keys: silent until `answers` is set."""

    def __init__(self) -> None:
        self.answers, self.lock = threading.Event(), threading.Lock()
        self.at_once = self.most = self.begun = 0

    def connect(self, tenant: int) -> list:
        with self.lock:
            self.begun += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            assert self.answers.wait(50)
        finally:
            with self.lock:
                self.at_once -= 1
        return [tenant]


@pytest.fixture
def database():
    """Return a silent server, which answers after the test."""
    made = Database()
    yield made
    made.answers.set()


def threads(name: str) -> int:
    return sum(thread.name == f"lazyguard {name}" for thread in threading.enumerate())


def test_a_silent_server_holds_so_many_threads_and_no_more(database, race, eventually):
    """However many keys are used, retried and recovered; when it answers, all are back."""

    @lazyguard.service(
        name="silent",
        timeout=0.25,
        abandon_after=0.1,
        max_keys=200,
        max_concurrent=5,
        recovery=lazyguard.Recovery(initial=0.05, maximum=0.1),
    )
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    @get_client.fallback(timeout=0.2)  # of these; a busy machine needs some of it
    def _nothing(cause: Exception, tenant: int) -> list:
        return []

    clients = [get_client(tenant) for tenant in range(100)]

    def use(part):
        return lambda: [len(client) for client in part]

    assert race(*[use(clients[at::10]) for at in range(10)], limit=50) == [[0] * 10] * 10
    eventually(lambda: database.begun == 10)  # five, and as many beside those that hang
    time.sleep(0.3)
    assert (database.most, database.begun, threads("silent")) == (10, 10, 10)
    database.answers.set()
    eventually(lambda: all(len(client) == 1 for client in clients))
    assert database.most <= 10


def test_a_burst_waits_for_its_turn(race):
    """A place that comes free within a caller's timeout is its; nobody is refused."""

    @lazyguard.service(name="burst", timeout=30.0, max_concurrent=3)
    def get_client(tenant: int) -> list:
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return [tenant]

    lock, running, most = threading.Lock(), [], []
    clients = [get_client(tenant) for tenant in range(24)]
    assert race(*[lambda client=client: client[0] for client in clients]) == list(range(24))
    assert max(most) <= 3


def test_what_finds_no_place_in_time_is_refused(database, clock, eventually):
    """Without a fallback the error says how many are under way, how many hang, and what to do."""

    @lazyguard.service(name="refusing", timeout=2.0, abandon_after=60.0, max_concurrent=1, recovery=None)
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    said: list[str] = []

    def use(tenant: int) -> threading.Thread:
        def work() -> None:
            try:
                len(get_client(tenant))
            except errors.ResolutionError as error:
                said.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    first = use(1)
    eventually(lambda: database.begun == 1)
    second = use(2)
    while second.is_alive():
        clock.advance(0.5)
        second.join(0.01)
    first.join(20)
    (refused,) = [text for text in said if text.startswith("ServiceUnavailable")]
    assert "refusing, declared at " in refused
    assert (
        "is not available: max_concurrent=1 attempts to build objects of it are under way, and 0 of them hang"
        in refused
    )
    clock.advance(60.0)  # the first one hangs: one more may begin
    third = use(3)
    eventually(lambda: database.begun == 2)
    clock.advance(60.0)
    fourth = use(4)  # both hang: it is refused at once
    fourth.join(20)
    assert not fourth.is_alive()
    assert [text for text in said if "2 of them hang" in text]
    clock.advance(5.0)
    third.join(20)


def test_a_deadline_ends_the_wait_for_a_place(database, eventually):
    """It is the caller's affair, and no reason for a fallback."""

    @lazyguard.service(name="late", timeout=30.0, max_concurrent=1, recovery=None)
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    get_client.fallback(lambda cause, tenant: [])
    thread = threading.Thread(target=lambda: len(get_client(1)), daemon=True)
    thread.start()
    eventually(lambda: database.begun == 1)
    with lazyguard.deadline(0.05), pytest.raises(errors.ResolutionDeadlineExceeded):
        len(get_client(2))
    assert not lazyguard.is_fallback(get_client(2))
    database.answers.set()
    thread.join(20)


def test_a_refusal_for_want_of_a_place_keeps_nothing(database):
    """What the caller is told goes with its last reference: no frame of ours that it has passed leads to it."""

    @lazyguard.service(name="refusing", timeout=0.05, abandon_after=60.0, max_concurrent=1, recovery=None)
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    told: list[weakref.ref[errors.ResolutionError]] = []
    gc.disable()
    try:
        for tenant in (1, 2):  # the first waits in vain for the database, the second for a place
            try:
                len(get_client(tenant))
            except errors.ResolutionError as error:
                told.append(weakref.ref(error))
        assert [one() for one in told] == [None, None]
    finally:
        gc.enable()


def test_a_task_waits_for_a_place_without_blocking_its_loop(database, eventually):
    """And has it when it comes free."""

    @lazyguard.service(name="tasks", timeout=30.0, max_concurrent=1, recovery=None)
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    async def main() -> list[int]:
        asked = [asyncio.ensure_future(get_client.aget(tenant)) for tenant in range(3)]
        await asyncio.sleep(0.05)
        assert database.begun == 1
        database.answers.set()
        return [client[0] for client in await asyncio.gather(*asked)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert database.most == 1


def test_recoveries_of_many_keys_begin_one_after_the_other(clock, eventually):
    """So many as may run begin in the time of the first wait, and no more."""
    begun: list[float] = []
    up: list[int] = []

    @lazyguard.service(max_keys=100, max_concurrent=4, recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    def get_client(tenant: int) -> list:
        if not up:
            raise ConnectionError
        begun.append(clock.now())
        return [tenant]

    get_client.fallback(lambda cause, tenant: [])
    clients = [get_client(tenant) for tenant in range(40)]
    assert [len(client) for client in clients] == [0] * 40
    up.append(1)
    start = clock.now()

    def all_are_back() -> bool:
        clock.advance(0.05)
        time.sleep(0.003)
        return len(begun) == 40

    eventually(all_are_back)
    assert clock.now() - start >= 9.0  # 40 keys, four in a second
    eventually(lambda: all(len(client) == 1 for client in clients))


def test_an_interrupted_attempt_gives_its_place_back(monkeypatch):
    """Whatever comes between the place and the attempt's end: nothing is kept."""
    places = module.Bulkhead(1)

    @lazyguard.service(timeout=5.0, max_concurrent=1)
    def get_client(tenant: int) -> list:
        return [tenant]

    client = get_client(1)
    cell = get_client.of(1).__lazyguard_cell__()
    cell.plan = cell.plan.changed(bulkhead=places)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lazyguard._core.daemons.daemon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            len(client)
    assert not places.full(0.0, None)
    assert len(client) == 1
    assert not places.full(0.0, None)


def test_a_fork_has_all_places(in_child, database, eventually):
    """What the parent's threads run takes no place in the child."""

    @lazyguard.service(name="forked", timeout=30.0, max_concurrent=1, recovery=None)
    def get_client(tenant: int) -> list:
        return database.connect(tenant)

    thread = threading.Thread(target=lambda: len(get_client(1)), daemon=True)
    thread.start()
    eventually(lambda: database.begun == 1)

    def child() -> None:
        database.lock = threading.Lock()
        database.answers.set()
        assert len(get_client(2)) == 1

    assert in_child(child) == 0
    database.answers.set()
    thread.join(20)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "many", True])
def test_wrong_numbers(wrong):
    """It is a whole number above zero, and for keys alone."""
    with pytest.raises(errors.ConfigurationError, match="max_concurrent"):
        lazyguard.service(max_concurrent=wrong)
    with pytest.raises(errors.ConfigurationError, match="max_concurrent=3 of .* says nothing"):
        lazyguard.service(max_concurrent=3)(lambda: 1)
