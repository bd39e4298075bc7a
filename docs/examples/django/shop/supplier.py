"""The supplier's API: what a tea costs, or that nobody knows it now."""

from __future__ import annotations

import os

import lazyguard

with lazyguard.lazy_imports():
    import httpx

# As soon as this what was away is tried again.
AWAY = lazyguard.Breaker(failure_threshold=2, slow_call_duration=0.2, open_time=0.5, max_open_time=2.0)


def close_client(client: httpx.Client) -> None:
    client.close()


@lazyguard.service(close=close_client)
def get_supplier() -> httpx.Client:
    return httpx.Client(base_url=os.environ["SUPPLIER"], timeout=1.0)


@lazyguard.guarded(timeout=0.2, breaker=AWAY)
def price_of(tea: str) -> int | None:
    half = (lazyguard.remaining() or 0.2) / 2  # httpx gives connecting and reading so much each
    answer = get_supplier().get(f"/{tea}", timeout=half)
    answer.raise_for_status()
    return int(answer.text)


@price_of.fallback(on=("httpx:HTTPError", lazyguard.DeadlineExceeded, lazyguard.CircuitOpen))
def _no_price(tea: str) -> int | None:
    return None
