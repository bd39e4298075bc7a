"""A shop on FastAPI: a database, a cache and a supplier's API, each of which may be away.

The cache and the supplier have fallbacks, so the shop goes on without them. Without the database it answers 503.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import httpx
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from redis.asyncio import Redis  # noqa: TC002 - FastAPI evaluates annotations
from redis.exceptions import RedisError

import lazyguard
from lazyguard.errors import CircuitOpen, DeadlineExceeded, ResolutionError, ServiceUnavailable
from lazyguard.integrations.asgi import Middleware
from lazyguard.integrations.redis import aredis_client

# How soon what was away is tried again.
QUICK = lazyguard.Recovery(initial=0.1, maximum=1.0)
# A statement that takes longer than this counts as a failure, and so do the waits of requests that give up before it.
SLOW = 0.4
AWAY = lazyguard.Breaker(failure_threshold=2, slow_call_duration=SLOW, open_time=0.5, max_open_time=1.0)
LOST = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def ask_database(pool: asyncpg.Pool) -> None:
    await pool.fetchval("select 1", timeout=0.5)


async def close_database(pool: asyncpg.Pool) -> None:
    pool.terminate()  # `close` would wait for statements of a server that is silent


@lazyguard.service(
    timeout=1.0, failures=LOST, breaker=AWAY, recovery=QUICK, probe=ask_database, close=close_database, critical=True
)
async def get_database() -> asyncpg.Pool:
    return await asyncpg.create_pool(os.environ["DATABASE"], min_size=1, max_size=5, timeout=0.5, command_timeout=0.5)


@lazyguard.service
async def get_cache() -> Redis:
    return await aredis_client(os.environ["CACHE"], socket_timeout=0.1)


@lazyguard.guarded(breaker=AWAY)
async def kept(tea: str) -> bytes | None:
    return await (await get_cache.aget()).get(tea)


@lazyguard.guarded(breaker=AWAY)
async def keep(tea: str, name: str) -> None:
    await (await get_cache.aget()).set(tea, name, ex=60)


@kept.fallback(on=(RedisError, CircuitOpen))
async def _nothing(tea: str) -> bytes | None:
    return None


@keep.fallback(on=(RedisError, CircuitOpen))
async def _left_out(tea: str, name: str) -> None: ...


async def close_client(client: httpx.AsyncClient) -> None:
    await client.aclose()


@lazyguard.service(close=close_client)
async def get_supplier() -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=os.environ["SUPPLIER"], timeout=0.5)


@lazyguard.guarded(timeout=0.2, breaker=AWAY)
async def price_of(tea: str) -> int | None:
    answer = await (await get_supplier.aget()).get(f"/{tea}")
    answer.raise_for_status()
    return int(answer.text)


@price_of.fallback(on=(httpx.HTTPError, DeadlineExceeded, CircuitOpen))
async def _no_price(tea: str) -> int | None:
    return None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    lazyguard.preload(get_database, get_cache, get_supplier)
    yield
    await lazyguard.aclose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(Middleware, timeout=2.0, timeout_header="X-Request-Timeout")


@app.exception_handler(ResolutionError)
@app.exception_handler(ServiceUnavailable)
@app.exception_handler(CircuitOpen)
@app.exception_handler(OSError)
@app.exception_handler(asyncpg.PostgresConnectionError)
@app.exception_handler(asyncpg.InterfaceError)
@app.exception_handler(asyncpg.InternalClientError)  # where the server is killed amid a statement
async def away(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": type(error).__name__}, 503, {"Retry-After": "1"})


@app.get("/teas/{tea}")
async def tea_of(tea: str, database: Annotated[asyncpg.Pool, Depends(get_database)]) -> dict[str, object]:
    found = await kept(tea)
    name = await database.fetchval("select upper($1::text)", tea) if found is None else found.decode()
    if found is None:
        await keep(tea, name)
    return {"name": name, "cached": found is not None, "price": await price_of(tea)}
