"""The shop of docs/examples/fastapi as it is written without lazyguard: what load_async.py compares with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from redis.asyncio import Redis
from redis.exceptions import RedisError

held: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    held["database"] = await asyncpg.create_pool(
        os.environ["DATABASE"], min_size=1, max_size=5, timeout=0.5, command_timeout=0.5
    )
    held["cache"] = Redis.from_url(os.environ["CACHE"], socket_timeout=0.1, socket_connect_timeout=0.1)
    held["supplier"] = httpx.AsyncClient(base_url=os.environ["SUPPLIER"], timeout=0.2)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/startupz")
async def started() -> dict[str, str]:
    return {"status": "pass"}


@app.exception_handler(OSError)
@app.exception_handler(asyncpg.PostgresConnectionError)
@app.exception_handler(asyncpg.InterfaceError)
async def away(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": type(error).__name__}, 503, {"Retry-After": "1"})


async def price_of(tea: str) -> int | None:
    try:
        answer = await held["supplier"].get(f"/{tea}")
        answer.raise_for_status()
    except httpx.HTTPError:
        return None
    return int(answer.text)


@app.get("/teas/{tea}")
async def tea_of(tea: str) -> dict[str, object]:
    try:
        found = await held["cache"].get(tea)
    except RedisError:
        found = None
    name = await held["database"].fetchval("select upper($1::text)", tea) if found is None else found.decode()
    if found is None:
        try:
            await held["cache"].set(tea, name, ex=60)
        except RedisError:
            pass
    return {"name": name, "cached": found is not None, "price": await price_of(tea)}
