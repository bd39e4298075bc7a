"""Laws 1 and 5 in a storm: 200 threads and 2,000 tasks on services that hang, fail and recover.

All waits are for events: nobody's promise is held to the speed of the machine, but for the one bound that tells a
caller which was let go from one that hangs for as long as the factory does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest

import lazyguard
from lazyguard import events

pytestmark = pytest.mark.usefixtures("limited")

THREADS, TASKS = 200, 2000
TIMEOUT = 0.2
SLACK = 15.0  # a factory that hangs does so for a minute
FATES = ("hang", "fail", "hang", "work", "fail", "hang", "work")


class Thing:
    """What a factory makes, or a fallback; its work fails while its service is to fail."""

    def __init__(self, site: Site, serial: int) -> None:
        self.site, self.serial = site, serial

    def work(self) -> Thing:
        if self.serial and self.site.fate == "fail":
            raise ConnectionError
        return self


class Site:
    """A service and what happens to it; each attempt and each served thing is counted."""

    def __init__(self, index: int) -> None:
        self.name = f"storm {index}"
        self.fate = "work"
        self.gate = threading.Event()
        self.counted = threading.Lock()
        self.serial = self.running = self.most = 0  # how many were made, and how many attempts ran at a time
        self.served: set[int] = set()
        self.told: list[events.Event] = []
        self.closed: Counter[int] = Counter()
        self.get = lazyguard.service(
            name=self.name,
            timeout=TIMEOUT,
            abandon_after=2 * TIMEOUT,
            retry=lazyguard.Retry(attempts=2, initial=0.01) if index % 3 == 0 else None,
            recovery=lazyguard.Recovery(initial=0.02, maximum=0.2, success_threshold=1 + index % 2),
            failures=(ConnectionError,),
            breaker=lazyguard.Breaker(failure_threshold=3),
            close=lambda thing: self.closed.update([thing.serial]),
            grace=0.0,
        )(self.make)
        if index % 4:

            @self.get.fallback
            def _() -> Thing:
                return Thing(self, 0)

    def make(self) -> Thing:
        with self.counted:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            fate, gate = self.fate, self.gate
            if fate == "hang":
                assert gate.wait(60)
            if fate == "fail":
                raise ConnectionError
            with self.counted:
                self.serial += 1
                return Thing(self, self.serial)
        finally:
            with self.counted:
                self.running -= 1

    def turn(self, fate: str) -> None:
        """Let what is to come have this fate, and what hangs go on."""
        self.fate = fate
        gate, self.gate = self.gate, threading.Event()
        gate.set()

    def is_real(self) -> bool:
        """Whether the real object is there; an attempt that has begun may still fail, as it was to."""
        try:
            return bool(self.get.require_real(timeout=30.0).serial)
        except lazyguard.ResolutionError:
            return False

    def threads(self) -> int:
        return sum(thread.name == f"lazyguard {self.name}" for thread in threading.enumerate())


class Storm:
    """Callers that each make one call a round, on another site each time, and meet at its end."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.waits: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.strange: list[BaseException] = []
        self.real: list[int] = []

    def note(self, begun: float, site: Site, thing: Thing | None, error: BaseException | None) -> None:
        self.waits.append(time.monotonic() - begun)
        if thing is not None:
            if thing.serial:
                site.served.add(thing.serial)
            self.real.append(thing.serial)
            self.outcomes["real" if thing.serial else "fallback"] += 1
        elif isinstance(error, lazyguard.ResolutionError | lazyguard.ServiceUnavailable | ConnectionError):
            self.outcomes[type(error).__name__] += 1
        else:
            self.strange.append(error or AssertionError("nothing"))

    def call(self, site: Site) -> None:
        begun, thing, error = time.monotonic(), None, None
        try:
            thing = site.get().work()
        except BaseException as raised:
            error = raised
        self.note(begun, site, thing, error)

    async def acall(self, site: Site) -> None:
        begun, thing, error = time.monotonic(), None, None
        try:
            thing = (await site.get.aget()).work()
        except BaseException as raised:
            error = raised
        self.note(begun, site, thing, error)

    def round(self, number: int) -> None:
        """Let all callers make one call, all at once; return when each has its answer."""
        start = threading.Barrier(THREADS + 2)

        def thread(index: int) -> None:
            start.wait(60)
            self.call(self.sites[(index + number) % len(self.sites)])

        async def tasks() -> None:
            callers = (self.acall(self.sites[(index + number) % len(self.sites)]) for index in range(TASKS))
            await asyncio.gather(*callers)

        def loop() -> None:
            start.wait(60)
            asyncio.run(tasks())

        callers = [threading.Thread(target=thread, args=(index,), daemon=True) for index in range(THREADS)]
        callers.append(threading.Thread(target=loop, daemon=True))
        for caller in callers:
            caller.start()
        start.wait(60)
        for caller in callers:
            caller.join(60)
            assert not caller.is_alive()


@pytest.fixture
def sites():
    """Return eight services, of which every fourth has no fallback; their events are kept."""
    made = [Site(index) for index in range(8)]
    by_name = {site.name: site for site in made}

    def hear(event: events.Event) -> None:
        if event.name in by_name:
            by_name[event.name].told.append(event)

    undo = events.subscribe(hear)
    yield made
    for site in made:
        site.turn("work")
        site.get.reset()
    undo()


def test_a_storm(sites, eventually):
    """One result a generation, no wait beyond the timeout, two attempts a service, and all end with the real one."""
    storm = Storm(sites)
    for number in range(len(FATES)):
        for index, site in enumerate(sites):
            if (index + number) % 5 == 0:
                site.get.reset()
            site.turn(FATES[(index + number) % len(FATES)])
        storm.round(number)
    for site in sites:
        site.turn("work")
        eventually(site.is_real)
    storm.real.clear()
    storm.round(len(FATES))
    assert len(storm.real) == THREADS + TASKS
    assert all(storm.real)  # no fallback is served any more, to anybody

    assert storm.strange == []
    assert len(storm.waits) == (THREADS + TASKS) * (len(FATES) + 1)
    late = sum(wait > TIMEOUT + 0.1 for wait in storm.waits)
    print(f"{len(storm.waits)} calls, {late} longer than {TIMEOUT} + 0.1 s, the longest {max(storm.waits):.3f} s")
    print(dict(storm.outcomes))
    assert max(storm.waits) < TIMEOUT + SLACK
    assert {"real", "fallback"} < set(storm.outcomes)
    for site in sites:
        assert site.most <= 2  # attempts at a time, a thread each
        eventually(lambda site=site: site.get.health().running == 0)
        began = [event.generation for event in site.told if event.kind in ("ready", "recovered")]
        assert len(set(began)) == len(began)  # one result a generation
        assert len(site.served) <= len(began)
        site.get.reset()
        eventually(lambda site=site: len(site.closed) == site.serial)  # all that was made is closed,
        assert set(site.closed.values()) <= {1}  # once
        eventually(lambda site=site: site.threads() == 0)
