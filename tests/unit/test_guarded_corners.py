"""What `guarded` promises where policies meet: what it keeps of a failure, whose haste counts, recursion."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
import tenacity

import lazyguard


@pytest.fixture
def no_collection():
    """Let only counts of references free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Argument:
    """What a call is made with; can be referred to weakly."""


class GaveUp(tenacity.RetryError):
    """A Retrying object's own error."""


KEEPING = {
    "nothing": {},
    "breaker": {"breaker": lazyguard.Breaker()},
    "timeout": {"timeout": 60.0},
    "one attempt": {"retry": lazyguard.Retry(attempts=1)},
    "more attempts": {"retry": lazyguard.Retry(attempts=3, initial=0.0)},
    "another error": {"retry": lazyguard.Retry(on=KeyError)},
    "reraise": {"retry": tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True)},
    "its own error": {"retry": tenacity.Retrying(stop=tenacity.stop_after_attempt(2), retry_error_cls=GaveUp)},
    "all": {
        "retry": lazyguard.Retry(initial=0.0),
        "breaker": lazyguard.Breaker(failure_threshold=9),
        "timeout": 60.0,
    },
}


@pytest.mark.parametrize("options", KEEPING.values(), ids=KEEPING)
def test_no_cycle_is_left_by_a_failure(options, no_collection):
    """What failed is freed at once: neither a frame of ours nor one of tenacity's keeps its arguments."""

    @lazyguard.guarded(**options)
    def call(_: Argument) -> None:
        raise ValueError

    argument = Argument()
    gone = weakref.ref(argument)
    try:
        call(argument)
    except (ValueError, GaveUp):
        pass
    del argument
    assert gone() is None


@pytest.mark.parametrize("options", KEEPING.values(), ids=KEEPING)
def test_no_cycle_is_left_by_a_failure_of_a_task(options, no_collection):
    """Nor does an async call keep them."""

    @lazyguard.guarded(**options)
    async def call(_: Argument) -> None:
        raise ValueError

    async def main() -> object:
        argument = Argument()
        gone = weakref.ref(argument)
        try:
            await call(argument)
        except (ValueError, GaveUp):
            pass
        del argument
        return gone()

    assert asyncio.run(main()) is None


def test_no_cycle_is_left_by_an_interruption(no_collection):
    """Nor does a call that Ctrl-C ended."""

    @lazyguard.guarded(timeout=60.0, breaker=lazyguard.Breaker())
    def call(_: Argument) -> None:
        raise KeyboardInterrupt

    argument = Argument()
    gone = weakref.ref(argument)
    try:
        call(argument)
    except KeyboardInterrupt:
        pass
    del argument
    assert gone() is None


def test_tenacitys_frames_are_not_in_the_traceback():
    """The failure that is raised in the end leads to the function, and not through the retries."""

    @lazyguard.guarded(retry=tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True))
    def call() -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:
        call()
    assert not any("tenacity" in str(entry.path) for entry in caught.traceback)
    assert caught.traceback[-1].name == "call"


def test_an_open_breaker_keeps_one_failure(clock):
    """The one that opened it, whole, as the cause of each refusal; when it has closed not even that."""
    fails = True

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2))
    def call(_: object) -> None:
        if fails:
            raise OSError

    kept = []
    for _ in range(2):
        argument = Argument()
        kept.append(weakref.ref(argument))
        with pytest.raises(OSError):
            call(argument)
        del argument
    gc.collect()
    assert [each() is None for each in kept] == [True, False]
    causes = set()
    for _ in range(3):
        with pytest.raises(lazyguard.CircuitOpen) as refused:
            call(None)
        assert isinstance(refused.value.__cause__, OSError)
        causes.add(id(refused.value.__cause__))
        frames = []
        trace = refused.value.__cause__.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert frames[-1] == "call"
    assert len(causes) == 1
    del refused, trace
    fails = False
    clock.advance(10.0)
    call(None)
    gc.collect()
    assert kept[1]() is None
