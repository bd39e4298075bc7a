"""Closing what all services hold: `close` for those with sync factories, `aclose` for the async ones as well.

Invariant: a service whose object was closed is pending; its next use builds anew, and its live reference stays.
"""

from __future__ import annotations


def close() -> None:
    """Close what services with sync factories hold, on this thread, the last one that was built first.

    It is for services with a `close=`; the next use of one builds anew. What waits for its `grace` to be over is closed
    now, what a block holds when that block ends. The value of an override is yours and stays as it is.

    It is done at the exit too, by itself, for async services as well: in two seconds for all, whatever hangs. An error
    in `close=` is an event, "close-failed", and raised nowhere. A forked child closes nothing that its parent made.

    Any number of threads may call it: each object is closed once.

    Example:
        >>> import lazyguard
        >>> @lazyguard.service(close=lambda numbers: print("closing", numbers))
        ... def get_numbers() -> list[int]:
        ...     return [1, 2]
        >>> len(get_numbers())
        2
        >>> lazyguard.close()
        closing [1, 2]
        >>> lazyguard.close()
    """
    from lazyguard._core import debts

    debts.close()


async def aclose() -> None:
    """Close what all services hold, async ones included, the last one that was built first.

    What an async factory made is closed on its own event loop: this one, or another one that runs. Where that does not
    run any more, an async `close=` cannot be awaited, and "close-failed" says so: await this as the last thing in the
    loop. A sync factory's object is closed on a thread beside it. For the rest it is like `close`.

    Cancelled, it leaves what it has not come to in service.

    Example:
        >>> import asyncio, lazyguard
        >>> async def say_goodbye(numbers: list[int]) -> None:
        ...     print("closing", numbers)
        >>> @lazyguard.service(close=say_goodbye)
        ... async def get_numbers() -> list[int]:
        ...     return [1, 2]
        >>> async def main() -> None:
        ...     await get_numbers.aget()
        ...     await lazyguard.aclose()
        >>> asyncio.run(main())
        closing [1, 2]
    """
    from lazyguard._core import adrive

    await adrive.aclosed()
