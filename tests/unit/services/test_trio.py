"""Without asyncio's event loop, as on trio: what needs one says so, names asyncio, and leaves all as it was."""

from __future__ import annotations

import pytest

import lazyguard
from lazyguard import errors

trio = pytest.importorskip("trio", reason="it is another event loop than asyncio's")


@lazyguard.guarded(timeout=1.0)
async def timed() -> str:
    return "real"


@lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.01))
async def flaky() -> str:
    raise ConnectionError


@lazyguard.service(name="plain", timeout=1.0)
def get_plain() -> list[str]:
    return ["real"]


@lazyguard.service(name="awaited")
async def get_awaited() -> list[str]:
    return ["real"]


@lazyguard.guarded(breaker=lazyguard.Breaker())
async def counted() -> str:
    return "real"


@pytest.fixture(autouse=True)
def _anew():
    yield
    for get in (get_plain, get_awaited):
        get.reset()


@pytest.mark.parametrize(
    "use",
    [
        timed,
        flaky,
        get_plain.aget,
        get_awaited.aget,
        lambda: lazyguard.aresolve(get_awaited()),
        lazyguard.aclose,
        lambda: lazyguard.pinned(get_awaited).__aenter__(),
    ],
    ids="timeout retry plain awaited aresolve aclose pinned".split(),
)
def test_what_waits_names_asyncio(use):
    """It is a UsageError with the ways out, and no attempt is left."""

    async def main() -> None:
        with pytest.raises(errors.UsageError, match=r"asyncio.*trio\.to_thread"):
            await use()

    trio.run(main)
    assert [get.health().running for get in (get_plain, get_awaited)] == [0, 0]
    assert get_plain()[0] == "real"


def test_what_waits_for_nothing_works():
    """What is there already, what a thread builds, and calls that only a breaker watches."""

    async def main() -> None:
        assert await counted() == "real"
        assert await trio.to_thread.run_sync(lambda: get_plain()[0]) == "real"
        assert (await get_plain.aget())[0] == "real"

    trio.run(main)
