"""What type checkers must reject. Checked, never run: an ignore that is not needed is an error, on both."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard


class Client:
    def get(self, key: str) -> bytes:
        return b""


class Other: ...


@lazyguard.lazy
def client() -> Client:
    return Client()


client.put("key")  # type: ignore[attr-defined]
lazyguard.lazy(42)  # type: ignore[call-overload]
lazyguard.lazy(Client, on_fork="sometimes")  # type: ignore[call-overload]


@lazyguard.lazy  # type: ignore[arg-type]
def needs_arguments(url: str) -> Client:
    return Client()


@lazyguard.service(timeout=2.0)
def get_client() -> Client:
    return Client()


@get_client.fallback  # type: ignore[arg-type]
def _of_another_type() -> Other:
    return Other()


@get_client.fallback(max_degraded=300)  # type: ignore[arg-type]
def _of_another_type_with_cause(cause: Exception) -> Other:
    return Other()


get_client().put("key")  # type: ignore[attr-defined]
get_client.override(Other())  # type: ignore[arg-type]
lazyguard.service(5)  # type: ignore[call-overload]
lazyguard.service(timeout="2")  # type: ignore[call-overload]
lazyguard.service(retry=3)  # type: ignore[call-overload]
lazyguard.Retry(3)  # type: ignore[call-arg]
lazyguard.Recovery(success_threshold="two")  # type: ignore[arg-type]
lazyguard.fallbacks("perhaps")  # type: ignore[arg-type]
lazyguard.prevent_duplicate_imports("core", action="ignore")  # type: ignore[arg-type]

number: int = client  # type: ignore[assignment]
client()  # type: ignore[operator]
lazyguard.lazy(Client, "client")  # type: ignore[call-overload]
lazyguard.lazy(Client, name=5)  # type: ignore[call-overload]
lazyguard.lazy(Client, timeout=5)  # type: ignore[call-overload]
lazyguard.lazy(record=5)  # type: ignore[call-overload]
lazyguard.lazy_attribute(5)  # type: ignore[call-overload]
lazyguard.load(5)  # type: ignore[arg-type]


@lazyguard.lazy
async def awaited() -> Client:
    return Client()


awaited.get("key")  # type: ignore[attr-defined]


class Holder:
    @lazyguard.lazy  # type: ignore[arg-type]
    def client(self) -> Client:
        return Client()


@get_client.fallback  # type: ignore[arg-type]
def _of_another_cause(cause: int) -> Client:
    return Client()


text: str = get_client()  # type: ignore[assignment]
get_client(5)  # type: ignore[call-arg]
get_client.fallback(max_degraded="5")  # type: ignore[call-overload]
lazyguard.service(failures=(5,))  # type: ignore[arg-type]
lazyguard.service(on_fork="maybe")  # type: ignore[call-overload]
lazyguard.service(fallback=Client)  # type: ignore[call-overload]
lazyguard.Retry(attempts="3")  # type: ignore[arg-type]
lazyguard.Breaker(failure_threshold="3")  # type: ignore[arg-type]
lazyguard.subscribe(5)  # type: ignore[arg-type]
