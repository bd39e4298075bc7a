"""Bodies that a WSGI application makes while they are sent: within the request's deadline, which goes no further."""

from __future__ import annotations

from wsgiref.util import setup_testing_defaults

import pytest

import lazyguard
from lazyguard.integrations import wsgi


def call(app, seconds="1.5"):
    environ = {"PATH_INFO": "/", "HTTP_X_REQUEST_TIMEOUT": seconds}
    setup_testing_defaults(environ)
    return wsgi.Middleware(app, timeout_header="X-Request-Timeout")(environ, lambda status, headers: None)


def test_each_part_and_the_close_have_the_deadline(clock):
    """Between the parts of a body the server's thread has no deadline."""
    seen = []

    class Body:
        def __iter__(self):
            seen.append(("iter", lazyguard.remaining()))
            for _ in range(2):
                seen.append(("part", lazyguard.remaining()))
                yield b"part"

        def close(self):
            seen.append(("close", lazyguard.remaining()))

    body = call(lambda environ, start_response: Body())
    assert lazyguard.remaining() is None
    assert next(iter(body)) == b"part"
    clock.advance(0.5)
    assert lazyguard.remaining() is None
    with lazyguard.deadline(30.0):
        assert next(body) == b"part"
        assert lazyguard.remaining() == 30.0
    assert list(body) == []
    body.close()
    assert lazyguard.remaining() is None
    assert seen == [("iter", 1.5), ("part", 1.5), ("part", 1.0), ("close", 1.0)]


def test_a_body_has_its_own_blocks_across_parts(clock):
    """A deadline that a generator opens holds between its parts, and nowhere else."""
    seen = []

    def parts(environ, start_response):
        with lazyguard.deadline(1.0):
            seen.append(lazyguard.remaining())
            yield b"one"
            seen.append(lazyguard.remaining())
            yield b"two"
        seen.append(lazyguard.remaining())

    body = call(parts)
    for _ in body:
        assert lazyguard.remaining() is None
    assert seen == [1.0, 1.0, 1.5]


def test_an_error_in_the_middle_leaves_no_deadline(clock):
    """`close` runs within the deadline, and later work does not; a body need not have `close`."""

    def parts(environ, start_response):
        yield b"one"
        raise LookupError

    body = call(parts)
    with pytest.raises(LookupError):
        list(body)
    body.close()
    assert lazyguard.remaining() is None
    call(lambda environ, start_response: iter([b"one"])).close()


def test_a_list_is_handed_on_as_it_is():
    """A list or a tuple is passed on: servers read its length."""
    given = [b"whole"]
    assert call(lambda environ, start_response: given) is given


def test_without_a_deadline_the_body_is_the_applications():
    """A body without a deadline is passed on, for a server's fast path."""
    given = iter([b"file"])
    assert call(lambda environ, start_response: given, "none") is given
