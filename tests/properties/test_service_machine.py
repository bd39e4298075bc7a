"""A service as a whole, held to a model of itself: what it serves, its state, threads, what is closed, its health."""

from __future__ import annotations

import threading
import time
from collections import Counter
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lazyguard
from lazyguard import errors
from lazyguard._core import scheduler
from lazyguard._core.wait_cycles import waiting
from lazyguard.testing import FakeClock

TIMEOUT, PATIENCE, WAIT, GRACE, THRESHOLD, LIMIT = 1.618, 20.0, 10.0, 5.0, 2, 30.0
FATES = st.sampled_from(["fails", "hangs", "ok"])  # of the attempts to come


class Thing:
    """What the factory makes; `fate` is what its work raises."""

    fate: BaseException | None = None
    made = False

    def work(self) -> Thing:
        if self.fate is not None:
            raise self.fate
        return self


class Attempt:
    """A run of the factory, and the model's view of its attempt."""

    def __init__(self, fate: str) -> None:
        self.fate = fate
        self.thing = Thing()
        self.go = threading.Event()
        self.generation = -1
        self.started = 0.0
        self.courses: list[Course] = []


class Course:
    """The model's view of a recovery: for which generation, and when it looks next."""

    def __init__(self, generation: int, due: float) -> None:
        self.generation = generation
        self.due = due


class ServiceMachine(RuleBasedStateMachine):
    """A service with a timeout, a breaker, a fallback, a recovery and a close, beside the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.clock.__enter__()
        self.waits = 0
        self.longest = mock.patch("random.uniform", self.uniform)
        self.longest.start()
        self.attempts: list[Attempt] = []
        self.closed: list[object] = []
        self.fate = "ok"
        self.fallback = Thing()
        self.get = lazyguard.service(
            name="machine",
            timeout=TIMEOUT,
            abandon_after=PATIENCE,
            recovery=lazyguard.Recovery(initial=WAIT, maximum=WAIT),
            failures=(ConnectionError,),
            breaker=lazyguard.Breaker(failure_threshold=THRESHOLD),
            close=self.closed.append,
            grace=GRACE,
        )(self.make)
        self.get.fallback(lambda: self.fallback)
        self.svc = self.get()
        # the model
        self.state, self.generation, self.served = "pending", 0, None
        self.cause, self.since = False, 0.0
        self.strikes = 0
        self.running: list[Attempt] = []
        self.attempt: Attempt | None = None
        self.launched = 0
        self.course: Course | None = None
        self.expected_waits = 0
        self.to_close: list[object] = []
        self.released: list[tuple[float, object]] = []
        self.covering: tuple[lazyguard._lazy_imports.access.Override, tuple[str, object, bool]] | None = None

    # the world

    def make(self):
        attempt = Attempt(self.fate)
        self.attempts.append(attempt)
        if attempt.fate == "hangs":
            assert attempt.go.wait(60)
        if attempt.fate == "fails":
            raise ConnectionError
        attempt.thing.made = True
        return attempt.thing

    def uniform(self, _low: float, high: float) -> float:
        self.waits += 1
        return high

    def until(self, condition) -> None:
        give_up = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < give_up, (self.get, self.state, self.attempts, self.running)
            time.sleep(0.0002)

    def at_rest(self) -> bool:
        return (
            self.waits == self.expected_waits
            and len(self.attempts) == self.launched
            and self.get.health().running == len(self.running)
        )

    # the model's transitions

    def begin(self) -> None:
        """A recovery begins, unless one of this generation is under way."""
        if self.course is None or self.course.generation != self.generation:
            self.course = Course(self.generation, 0.0)
            self.wait(self.course)

    def wait(self, course: Course) -> None:
        course.due = self.clock.now() + WAIT
        self.expected_waits += 1

    def becomes(self, state: str, served: object = None) -> None:
        self.state, self.served, self.strikes = state, served, 0
        self.cause = state in ("degraded", "failed")

    def new_generation(self) -> None:
        self.generation += 1
        self.attempt = None

    def find_attempt(self, course: Course | None = None) -> Attempt | None:
        """Return the attempt that begins; None where there is no need or no place for one."""
        now = self.clock.now()
        if self.running:
            newest = self.running[-1]
            if len(self.running) > 1 or (now - newest.started < PATIENCE and newest.generation == self.generation):
                return None
        attempt = Attempt(self.fate)
        attempt.generation, attempt.started = self.generation, now
        if course is not None:
            attempt.courses.append(course)
        self.running.append(attempt)
        self.attempt = attempt
        self.launched += 1
        if self.state != "degraded" and course is None:
            self.state, self.since = "resolving", now
        return attempt

    def lands(self, attempt: Attempt, ok: bool) -> None:
        counts = self.state != "ready" and attempt.generation == self.generation
        self.running.remove(attempt)
        if self.attempt is attempt:
            self.attempt = None
        if ok and counts:
            self.generation += self.state != "resolving"
            self.attempt = None
            self.becomes("ready", attempt.thing)
        elif ok:
            self.to_close.append(attempt.thing)
        elif counts and self.state != "degraded" and self.attempt is None:
            self.becomes("failed")
        if self.course is not None and self.course in attempt.courses:
            if self.is_over(self.course):
                self.course = None
            else:
                self.wait(self.course)
        if counts and not ok:
            self.begin()

    def is_stuck(self) -> bool:
        return len(self.running) > 1 and all(self.clock.now() - one.started >= PATIENCE for one in self.running)

    def is_over(self, course: Course) -> bool:
        return course.generation != self.generation or self.state not in ("degraded", "failed", "resolving")

    def take_off(self, attempt: Attempt) -> bool:
        """Let what begins meet its fate, in the world and in the model; return whether it hangs."""
        self.until(lambda: len(self.attempts) == self.launched)
        real = self.attempts[-1]
        attempt.thing, attempt.go, attempt.fate = real.thing, real.go, real.fate
        if attempt.fate == "hangs":
            return True
        self.lands(attempt, attempt.fate == "ok")
        return False

    def looks(self, course: Course) -> None:
        """A recovery's time has come."""
        if self.is_over(course):
            self.course = None
            return
        attempt = self.find_attempt(course)
        if attempt is None:
            if self.clock.now() - self.running[-1].started >= PATIENCE:  # stuck: whichever ends, it goes on
                for running in self.running:
                    if course not in running.courses:
                        running.courses.append(course)
            self.wait(course)
            return
        course.due = self.clock.now() + PATIENCE
        self.take_off(attempt)

    def passes(self, seconds: float) -> None:
        """Let time pass, and stop wherever something is due."""
        end = self.clock.now() + seconds
        while True:
            course = self.course
            due = end if course is None else min(end, course.due)
            self.clock.advance(max(0.0, due - self.clock.now()))
            looked = threading.Event()
            scheduler.at(self.clock.now(), looked.set)
            assert looked.wait(LIMIT)
            if course is None or course.due > self.clock.now():
                break
            self.looks(course)
            self.until(self.at_rest)
        now = self.clock.now()
        self.to_close += [thing for due, thing in self.released if due <= now]
        self.released = [(due, thing) for due, thing in self.released if due > now]

    def calls(self, use):
        """Use the service on a thread of its own; while that waits for what hangs, its time passes."""
        told: list[object] = []

        def call() -> None:
            try:
                told.append(use())
            except BaseException as error:
                told.append(error)

        if self.state == "ready":
            call()
            return told
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        self.caller = caller
        return told

    def asks(self, use, real: bool):
        """Model and world of one caller; return what it is told and what it should be told."""
        if self.state == "ready" or (self.state == "degraded" and not real):
            return use(), self.served
        if self.state == "failed" and not real:
            self.becomes("degraded", self.fallback)
            self.begin()
            return use(), self.fallback
        told = self.calls(use)
        stuck, attempt = self.is_stuck(), self.find_attempt()
        if stuck:
            failure: object = errors.ResolutionTimeout  # at once
        elif attempt is None or self.take_off(attempt):
            self.until(lambda: self.caller.ident in waiting)
            self.passes(TIMEOUT)
            failure = errors.ResolutionTimeout
        else:
            failure = errors.ResolutionError
        if self.state == "ready":
            expected = self.served
        elif real:
            expected = failure
        else:
            if self.state != "degraded":
                self.becomes("degraded", self.fallback)
            self.begin()
            expected = self.fallback
        self.caller.join(LIMIT)
        (answer,) = told
        return (type(answer) if isinstance(answer, errors.LazyguardError) else answer), expected

    # what may happen

    @rule(fate=FATES)
    def use(self, fate: str) -> None:
        self.fate = fate
        answer, expected = self.asks(lambda: self.svc.work(), real=False)
        assert answer is expected
        self.strikes = 0

    @rule(fate=FATES)
    def use_the_real_one(self, fate: str) -> None:
        self.fate = fate
        answer, expected = self.asks(lambda: self.get.require_real(), real=True)
        assert answer is expected

    @precondition(lambda self: self.state == "ready")
    @rule(errors=st.lists(st.sampled_from([ConnectionError(), ConnectionResetError(), ValueError()]), max_size=3))
    def calls_fail(self, errors: list[Exception]) -> None:
        for error in errors:
            if self.state == "ready":
                self.call_fails(error)

    def call_fails(self, error: Exception) -> None:
        thing = self.served
        thing.fate = error
        with pytest.raises(type(error)):
            self.svc.work()
        thing.fate = None
        if self.covering is not None:
            return
        if isinstance(error, ValueError):  # whoever answers is there
            self.strikes = 0
            return
        self.strikes += 1
        if self.strikes == THRESHOLD:
            self.expected_waits += 1  # that of the breaker
            self.released.append((self.clock.now() + GRACE, thing))
            self.new_generation()
            self.becomes("failed")
            self.begin()

    @precondition(lambda self: any(attempt.fate == "hangs" for attempt in self.running))
    @rule(data=st.data(), ok=st.booleans())
    def one_ends(self, data: st.DataObject, ok: bool) -> None:
        attempt = data.draw(st.sampled_from(self.running))
        real = next(one for one in self.attempts if one.go is attempt.go)
        real.fate = "ok" if ok else "fails"
        self.lands(attempt, ok)
        attempt.go.set()

    @rule()
    def reset(self) -> None:
        self.begins_anew()
        self.get.reset()

    @rule()
    def close_all(self) -> None:
        self.to_close += [thing for _, thing in self.released]
        self.released = []
        if (self.state if self.covering is None else self.covering[1][0]) == "ready":
            self.begins_anew()
        lazyguard.close()

    def begins_anew(self) -> None:
        self.new_generation()
        if self.covering is not None:
            override, (state, served, _) = self.covering
            self.covering = override, ("pending", None, False)
        else:
            state, served = self.state, self.served
            self.becomes("pending")
        if state == "ready":
            self.to_close.append(served)

    @precondition(lambda self: self.covering is None)
    @rule()
    def cover(self) -> None:
        fake = Thing()
        override = self.get.override(fake)
        override.__enter__()
        kept = self.state in ("ready", "degraded")
        self.covering = override, (self.state, self.served, True) if kept else ("pending", None, False)
        self.new_generation()
        self.becomes("ready", fake)

    @precondition(lambda self: self.covering is not None)
    @rule()
    def uncover(self) -> None:
        override, (state, served, _) = self.covering
        self.covering = None
        self.new_generation()
        self.becomes(state, served)
        if state == "degraded":
            self.begin()
        override.__exit__()

    @rule(fate=FATES, seconds=st.sampled_from([PATIENCE, WAIT, GRACE, 1.0]))
    def time_passes(self, fate: str, seconds: float) -> None:
        self.fate = fate
        self.passes(seconds)

    # what always holds

    @invariant()
    def as_the_model_says(self) -> None:
        self.until(self.at_rest)
        self.until(lambda: len(self.closed) >= len(self.to_close))
        check = self.get.health()
        assert (check.state, check.generation) == (self.state, self.generation)
        assert self.get() is self.svc
        assert lazyguard.is_resolved(self.svc) == (self.served is not None)
        assert self.get.__lazyguard_cell__().now.target is self.served

    @invariant()
    def two_threads_at_most(self) -> None:
        assert len(self.running) <= 2
        hanging = [attempt for attempt in self.attempts if attempt.fate == "hangs" and not attempt.go.is_set()]
        assert len(hanging) == len(self.running)

    @invariant()
    def each_is_closed_once_and_not_served(self) -> None:
        assert Counter(map(id, self.closed)) == Counter(map(id, self.to_close))
        assert not any(thing is self.served or thing is self.fallback for thing in self.closed)

    @invariant()
    def each_is_closed_once_or_kept(self) -> None:
        served = [self.served] if self.covering is None else [self.covering[1][1]]
        kept = [*(thing for _, thing in self.released), *served, *self.closed]
        made = [attempt.thing for attempt in self.attempts if attempt.fate == "ok"]
        assert Counter(map(id, made)) == Counter(id(thing) for thing in kept if thing not in (None, self.fallback))

    @invariant()
    def health_is_truthful(self) -> None:
        check = self.get.health()
        overdue = self.state == "resolving" and self.clock.now() - self.since > TIMEOUT
        stuck = self.state != "ready" and self.is_stuck()
        assert len(check.stacks) == (2 if stuck else 0)
        assert check.status == ("warn" if self.cause or overdue or stuck else "pass")
        assert bool(check.cause) == (self.cause or overdue or stuck)
        assert lazyguard.is_fallback(self.svc) == (self.state == "degraded")
        if self.state == "degraded":
            with lazyguard.fallbacks("deny"), pytest.raises(errors.ServiceUnavailable):
                self.svc.work()

    def teardown(self) -> None:
        self.get.reset()
        for attempt in self.attempts:
            attempt.fate = "ok"
            attempt.go.set()
        self.until(lambda: self.get.health().running == 0)
        self.clock.advance(1000.0)
        made = [attempt.thing for attempt in self.attempts if attempt.thing.made]
        self.until(lambda: len(self.closed) >= len(made))
        assert Counter(map(id, self.closed)) == Counter(map(id, made))
        self.longest.stop()
        self.clock.__exit__(None, None, None)


@pytest.mark.usefixtures("limited")
def test_a_service_does_what_the_model_says():
    """Whatever happens to a service, in whatever order, it serves, tells and closes what the model says."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        ServiceMachine,
        settings=settings(
            max_examples=2 * settings.default.max_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
