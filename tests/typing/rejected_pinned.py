"""What type checkers must reject of pinned blocks: an ignore that is not needed is an error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard


class Client:
    def get(self, key: str) -> bytes:
        return b""


@lazyguard.service()
def get_client() -> Client:
    return Client()


lazyguard.pinned()  # type: ignore[call-overload]
lazyguard.pinned(of=get_client)  # type: ignore[call-overload]
with lazyguard.pinned(get_client()) as kept:
    kept.put("key")  # type: ignore[attr-defined]
