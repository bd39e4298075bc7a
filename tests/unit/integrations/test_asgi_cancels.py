"""What `asgi.Middleware` does when a request's deadline passes: the work is cancelled, and the client has a 504."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import json
import sys

import pytest

import lazyguard
from lazyguard.integrations import asgi

HTTP = {"type": "http", "method": "GET", "path": "/", "headers": []}
START = {"type": "http.response.start", "status": 200, "headers": []}
SHORT = 0.01


def part(*, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": b"a part", "more_body": more}


def served(app, sent: list | None = None, **options) -> tuple[list[dict[str, object]], BaseException | None]:
    """Return what an application sends, and what it raises to the server."""
    sent = [] if sent is None else sent

    async def send(message):
        sent.append(message)

    async def main() -> BaseException | None:
        try:
            await asgi.Middleware(app, timeout=SHORT, **options)(HTTP, None, send)
        except Exception as error:
            return error
        await asyncio.sleep(2 * SHORT)  # nothing rings later
        return None

    return sent, asyncio.run(main())


def test_nothing_was_sent(limited):
    """The answer is 504 with a health body, and the work has ended by then, its clean-up too."""
    seen = []

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    (begin, body), error = served(app)
    assert error is None
    assert begin["status"] == 504
    assert (b"content-type", b"application/health+json") in begin["headers"]
    assert json.loads(body["body"]) == {"status": "fail", "output": "DeadlineExceeded"}
    assert seen == ["cleaned up"]


@pytest.mark.parametrize("ends_by", ["an answer", "an error", "the deadline", "the deadline amid an answer"])
def test_a_request_leaves_no_cycle(limited, ends_by):
    """What it took goes when it ends, and waits for no collection, which would hold up the loop."""

    async def app(scope, receive, send):
        if ends_by == "an error":
            raise LookupError
        if ends_by.endswith("answer"):
            await send(START)
        if ends_by.startswith("the"):
            await asyncio.Event().wait()
        await send(part(more=False))

    async def nothing(message): ...

    async def main() -> int:
        for _ in range(3):
            gc.collect()
            with contextlib.suppress(Exception):
                await asgi.Middleware(app, timeout=SHORT)(HTTP, None, nothing)
            await asyncio.sleep(0)
        return gc.collect()

    gc.disable()
    try:
        assert asyncio.run(main()) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("ends_by", ["its cancellation", "an error", "an answer"])
def test_nothing_waits_for_the_clean_up(limited, ends_by):
    """The answer is whole while the work still cleans up, however that ends; what it sends by then is dropped."""
    seen, sent = [], []

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            while len(sent) < 2:
                await asyncio.sleep(0)
            seen.append("cleaned up")
            if ends_by == "its cancellation":
                raise
            if ends_by == "an error":
                raise ValueError from None
            await send(START)
            await send(part(more=False))

    sent, error = served(app, sent=sent)
    assert [one.get("status") for one in sent] == [504, None]
    assert seen == ["cleaned up"]
    assert type(error) is (ValueError if ends_by == "an error" else type(None))


def test_the_application_raises_it(limited):
    """What asks for what is left, and does not catch the error, is answered so as well."""

    async def app(scope, receive, send):
        raise lazyguard.DeadlineExceeded("too late")

    sent, error = served(app)
    assert (sent[0]["status"], error) == (504, None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no groups")
def test_a_group_of_deadlines(limited):
    """A task group wraps what its tasks raise: it is answered so where nothing else is in it."""

    group = vars(builtins)["ExceptionGroup"]

    async def app(scope, receive, send):
        raise group("several", raised)

    raised = [lazyguard.DeadlineExceeded("too late"), group("one", [lazyguard.DeadlineExceeded("too late")])]
    sent, error = served(app)
    assert (sent[0]["status"], error) == (504, None)
    raised.append(ValueError())
    sent, error = served(app)
    assert (sent, type(error)) == ([], group)


def test_something_was_sent(limited):
    """The error reaches the server, which closes the connection; nothing more is sent."""

    async def app(scope, receive, send):
        await send(START)
        await asyncio.Event().wait()

    sent, error = served(app)
    assert sent == [START]
    assert isinstance(error, lazyguard.DeadlineExceeded)


def test_a_stream_goes_on(limited):
    """Once a part is sent, nothing is cancelled; the deadline holds for what asks for it."""
    seen = []

    async def app(scope, receive, send):
        await send(START)
        await send(part(more=True))
        await asyncio.sleep(2 * SHORT)
        try:
            lazyguard.remaining()
        except lazyguard.DeadlineExceeded:
            seen.append("late")
        await send(part(more=False))

    sent, error = served(app)
    assert (len(sent), error, seen) == (3, None, ["late"])


def test_background_work_goes_on(limited):
    """What runs after the answer has no deadline."""
    seen = []

    async def app(scope, receive, send):
        await send(START)
        await send(part(more=False))
        await asyncio.sleep(2 * SHORT)
        seen.append(lazyguard.remaining())

    _, error = served(app)
    assert (seen, error) == ([None], None)


def test_cooperative_alone(limited):
    """With cancel=False nothing is cancelled, and an error is the server's."""

    async def app(scope, receive, send):
        await asyncio.sleep(2 * SHORT)
        lazyguard.remaining()

    sent, error = served(app, cancel=False)
    assert sent == []
    assert isinstance(error, lazyguard.DeadlineExceeded)


def test_a_server_that_cancels(limited):
    """A cancellation from outside is no deadline's: it goes through, and nothing is answered."""
    sent = []

    async def app(scope, receive, send):
        begun.set()
        await asyncio.Event().wait()

    async def main() -> bool:
        global begun
        begun = asyncio.Event()

        async def send(message):
            sent.append(message)

        task = asyncio.ensure_future(asgi.Middleware(app, timeout=60.0)(HTTP, None, send))
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(main())
    assert sent == []


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_has_no_deadline(kind, limited):
    """Websockets and the lifespan are left alone."""

    async def app(scope, receive, send):
        await asyncio.sleep(2 * SHORT)

    asyncio.run(asgi.Middleware(app, timeout=SHORT)({"type": kind, "path": "/"}, None, None))
