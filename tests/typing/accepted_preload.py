"""What type checkers must accept of `preload`, and the types that they must see. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

from typing_extensions import assert_type

import lazyguard


class Client: ...


@lazyguard.service(timeout=2.0)
def get_client() -> Client:
    return Client()


@lazyguard.service()
async def get_async_client() -> Client:
    return Client()


@lazyguard.lazy
def client() -> Client:
    return Client()


def progress(done: int, total: int, name: str, seconds: float, error: BaseException | None) -> None: ...


handle = lazyguard.preload(get_client, get_async_client, get_client(), client, "core.reports", concurrency=2)
assert_type(handle, lazyguard.types.Preload)
assert_type(lazyguard.preload("core", progress=progress).wait(timeout=1.0), bool)
lazyguard.preload("core", progress=lambda done, total, name, seconds, error: print(done / total, name.upper(), seconds))
assert_type(handle.done, int)
assert_type(handle.total, int)
assert_type(handle.failed, int)
assert_type(handle.ended, bool)
assert_type(handle.interrupted, bool)
assert_type(handle.errors, dict[str, BaseException])


async def main() -> None:
    assert_type(await handle.awaited(), bool)
    assert_type(await handle.awaited(timeout=1.0), bool)
