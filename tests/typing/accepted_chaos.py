"""What type checkers must accept of `lazyguard.testing.chaos`, and the types that they must see. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportPrivateUsage=false

from __future__ import annotations

from typing_extensions import assert_type

import lazyguard
from lazyguard.testing import chaos


class Client: ...


@lazyguard.service(timeout=2.0)
def get_client() -> Client:
    return Client()


@lazyguard.guarded(timeout=2.0)
def fetch(key: str) -> bytes:
    return b""


with chaos(get_client, latency=1.0, error=OSError, rate=0.5, seed=7) as faults:
    assert_type(faults.hits, int)
with chaos(get_client(), error=OSError("on purpose"), seed="a"), chaos(fetch, error=lambda: OSError("on purpose")):
    pass
