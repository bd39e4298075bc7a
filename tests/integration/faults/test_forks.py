"""A service of a real Redis in a process that forks: neither process speaks on the other's connection."""

from __future__ import annotations

import pytest

import lazyguard

redis = pytest.importorskip("redis", reason="the extra `demo` has redis")
pytestmark = pytest.mark.usefixtures("limited")


def test_a_connection_of_its_own(make_redis, in_child):
    """The child connects anew, and neither its work nor its end hurts the parent's connection."""
    server = make_redis()
    server.start()

    @lazyguard.service(name="db", close=lambda client: client.close())
    def get_redis():
        return redis.Redis(port=server.port, single_connection_client=True)

    ours = get_redis().client_id()
    assert get_redis().incr("count") == 1

    def child() -> None:
        assert get_redis().client_id() != ours
        get_redis().incr("count")
        get_redis.reset()

    for forks in range(1, 4):
        assert in_child(child) == 0
        assert get_redis().client_id() == ours
        assert get_redis().get("count") == str(1 + forks).encode()
    get_redis.reset()
    server.stop()
