"""Law 6 for services: whatever state one is in when the process forks, child and parent go on, and close their own."""

from __future__ import annotations

import os
import threading

import pytest

import lazyguard

pytestmark = pytest.mark.usefixtures("limited")


class Made:
    """What the factory makes; it knows its process."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def where(self) -> int:
        return self.pid


class Fallback(Made):
    """What the fallback makes."""


class Fake(Made):
    """What the override serves."""


class World:
    """A service whose factory hangs, fails or works as the test says, in the parent; in a child it works."""

    def __init__(self, timeout: float | None, on_fork: str) -> None:
        self.parent = os.getpid()
        self.fate = "works"
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.closed: list[Made] = []
        self.get = lazyguard.service(
            name="db",
            timeout=timeout,
            on_fork=on_fork,
            close=self.closed.append,
            recovery=lazyguard.Recovery(initial=1.0, maximum=1.0),
        )(self.make)
        self.undo: lazyguard.Override | None = None
        self.waiting: threading.Thread | None = None

    def make(self) -> Made:
        if os.getpid() == self.parent:
            self.begun.set()
            if self.fate == "hangs":
                assert self.gate.wait(60)
            if self.fate == "fails":
                raise ConnectionError
        return Made()

    def relieve(self) -> None:
        @self.get.fallback
        def _() -> Made:
            return Fallback()

    def use_beside(self) -> None:
        """Let another thread use the service, and come back when its attempt has begun."""
        self.waiting = threading.Thread(target=lambda: self.get().where(), daemon=True)
        self.waiting.start()
        assert self.begun.wait(30)


def pending(world: World, time) -> None: ...


def resolving(world: World, time) -> None:
    world.fate = "hangs"
    world.use_beside()


def ready(world: World, time) -> None:
    world.get().where()


def degraded(world: World, time) -> None:
    world.relieve()
    world.fate = "fails"
    assert world.get().where() == world.parent


def failed(world: World, time) -> None:
    world.fate = "fails"
    with pytest.raises(lazyguard.ResolutionError):
        world.get().where()


def overridden(world: World, time) -> None:
    world.get().where()
    world.undo = world.get.override(Fake())
    world.undo.__enter__()


def recovering(world: World, time) -> None:
    degraded(world, time)
    world.fate = "hangs"
    world.begun.clear()
    time.advance(1.0)
    assert world.begun.wait(30)  # the recovery's attempt is under way


# What is shown at the fork, and what the child shows at once: for on_fork="reset", and for "keep".
STATES = {
    pending: ("pending", "pending", "pending"),
    resolving: ("resolving", "pending", "pending"),
    ready: ("ready", "pending", "ready"),
    degraded: ("degraded", "pending", "degraded"),
    failed: ("failed", "pending", "failed"),
    overridden: ("ready", "ready", "ready"),
    recovering: ("degraded", "pending", "degraded"),
}


@pytest.fixture
def world(request, clock):
    """Return a service of the timeout and on_fork that the test is run for; nothing of it outlives the test."""
    made = World(*request.param)
    yield made
    made.fate = "works"
    made.gate.set()
    if made.waiting is not None:
        made.waiting.join(30)
    made.get.reset()


@pytest.mark.parametrize("arrange", STATES, ids=lambda arrange: arrange.__name__)
@pytest.mark.parametrize(
    "world",
    [(timeout, on_fork) for timeout in (None, 30.0) for on_fork in ("reset", "keep")],
    ids=lambda of: f"{of[0]}-{of[1]}",
    indirect=True,
)
def test_a_fork_in_every_state(world, arrange, clock, in_child, eventually):
    """The child's service works, and each process closes what is its own, once, and nothing of the other's."""
    arrange(world, clock)
    shown, *in_children = STATES[arrange]
    keeps = world.get._cell.plan.on_fork == "keep"
    kept_real = arrange is ready and keeps
    assert world.get.health().state == shown
    closed_before = list(world.closed)

    def child() -> None:
        service = world.get()
        assert world.get.health().state == in_children[keeps]
        assert world.get.health().running == 0  # the parent's threads are not here
        if world.undo is not None:
            assert type(lazyguard.resolve(service)) is Fake
            world.undo.__exit__(None, None, None)
            assert service.where() == (world.parent if keeps else os.getpid())
            kept = keeps
        elif in_children[keeps] == "degraded":
            assert service.where() == world.parent  # the fallback is kept, and the real one built here
            assert lazyguard.is_fallback(service)
            clock.advance(1.0)
            eventually(lambda: not lazyguard.is_fallback(service))
            assert service.where() == os.getpid()
            kept = False
        else:
            assert service.where() == (world.parent if kept_real else os.getpid())
            kept = kept_real
        assert world.closed == closed_before
        mine = lazyguard.resolve(service)
        world.get.reset()
        # what was kept by a fork is the parent's to close, which still uses it
        assert [made.pid for made in world.closed[len(closed_before) :]] == ([] if kept else [os.getpid()])
        assert kept or world.closed[-1] is mine
        assert service.where() == os.getpid()

    assert in_child(child) == 0
    assert world.get.health().state == shown  # the parent goes on as if nothing had been
    assert world.closed == closed_before
    if world.undo is not None:
        world.undo.__exit__(None, None, None)
    world.fate = "works"
    world.gate.set()
    if arrange is recovering:
        eventually(lambda: world.get.health().state == "ready")
    elif arrange is degraded:
        clock.advance(1.0)
        eventually(lambda: world.get.health().state == "ready")
    assert world.get().where() == world.parent
    last = lazyguard.resolve(world.get())
    world.get.reset()
    assert [made for made in world.closed if made is last] == [last]


def test_a_child_of_a_child(in_child):
    """Each generation of processes builds its own."""
    made = []

    @lazyguard.service(name="db", timeout=30.0, close=made.append)
    def get() -> Made:
        return Made()

    assert get().where() == os.getpid()

    def child() -> None:
        assert get().where() == os.getpid()

        def grandchild() -> None:
            assert get().where() == os.getpid()
            get.reset()
            assert [one.pid for one in made] == [os.getpid()]

        assert in_child(grandchild) == 0
        assert made == []

    assert in_child(child) == 0
    assert made == []
    get.reset()
    assert [one.pid for one in made] == [os.getpid()]


@pytest.mark.parametrize(
    ("on_fork", "makes_its_own"),
    [("reset", True), ("keep", False), (lambda _: None, True)],
    ids=["reset", "keep", "function"],
)
@pytest.mark.parametrize("overridden", [False, True])
def test_a_fallback_of_the_parent(in_child, on_fork, makes_its_own, overridden):
    """It may have connections too: a child that is not to keep what the parent made has a fallback of its own."""

    @lazyguard.service(name="db", on_fork=on_fork, recovery=None)
    def get() -> Made:
        raise ConnectionError

    @get.fallback
    def _() -> Made:
        return Fallback()

    parent = os.getpid()
    assert get().where() == parent
    override = get.override(Fake())
    if overridden:
        override.__enter__()

    def child() -> None:
        if overridden:
            assert type(lazyguard.resolve(get())) is Fake
            override.__exit__()
        assert get.health().state == ("pending" if makes_its_own else "degraded")
        assert get().where() == (os.getpid() if makes_its_own else parent)

    assert in_child(child) == 0
    if overridden:
        override.__exit__()
    assert get().where() == parent


@pytest.mark.parametrize("on_fork", ["keep", "reset"])
@pytest.mark.parametrize("has_fallback", [False, True])
def test_what_was_isolated_is_so_in_the_child(in_child, on_fork, has_fallback):
    """Taken out of use by hand, in an incident, it stays so until somebody resets it, in each process by itself."""
    world = World(None, on_fork)
    if has_fallback:
        world.get.fallback(lambda: Fallback())
    live = world.get()
    live.where()
    world.get.isolate()

    def child() -> None:
        if has_fallback:
            assert live.where() == os.getpid()
            assert lazyguard.is_fallback(live)
        else:
            with pytest.raises(lazyguard.ServiceUnavailable, match="isolate"):
                live.where()
        world.get.reset()
        assert live.where() == os.getpid()

    assert in_child(child) == 0
    world.get.reset()
    assert live.where() == os.getpid()
