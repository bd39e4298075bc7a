"""The Django cache that survives its server: each operation, sync and async, before, in and after an outage."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from textwrap import dedent

import pytest

import lazyguard
from lazyguard.testing import FakeClock

pytest.importorskip("django", reason="the group `integration` has it")
pytest.importorskip("redis", reason="the group `demo` has it")

pytestmark = pytest.mark.usefixtures("limited")
OURS, REDIS = "lazyguard.integrations.django.Cache", "django.core.cache.backends.redis.RedisCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

# Each operation, what an empty cache answers, and what a fallback does that has had the operations before it.
OPERATIONS = [
    ("set", ("a", 1), None, None),
    ("get", ("a", "none"), "none", 1),
    ("has_key", ("a",), False, True),
    ("add", ("b", 2), True, True),
    ("get_many", (["a", "b"],), {}, {"a": 1, "b": 2}),
    ("set_many", ({"c": 3, "d": 4},), ["c", "d"], []),
    ("incr", ("n",), 1, 1),
    ("incr", ("n", 5), 5, 6),
    ("decr", ("n",), -1, 5),
    ("get_or_set", ("e", 7), 7, 7),
    ("touch", ("a",), False, True),
    ("delete", ("a",), False, True),
    ("delete_many", (["b", "c"],), None, None),
    ("clear", (), None, None),
]


@pytest.fixture(scope="module")
def redis(make_redis):
    server = make_redis()
    server.start()
    return server


@pytest.fixture
def make(redis):
    """Return a function that makes a cache of ours around Redis."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(ROOT_URLCONF="shop_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()
    from lazyguard.integrations.django import Cache

    made = []

    def make(**options):
        params = {"KEY_PREFIX": "x", "OPTIONS": {"backend": REDIS, "timeout": 0.2, **options}}
        made.append(Cache(f"redis://127.0.0.1:{redis.port}/0", params))
        return made[-1]

    yield make
    restore(redis)
    for cache in made:
        cache._policies.call.reset()
        cache.clear()
        cache.close()


def restore(server):
    """Let a server that was frozen or stopped serve again."""
    if server.process is None:
        server.start()
    server.thaw()


def asked(cache, operation, arguments, *, awaited):
    if not awaited:
        return getattr(cache, operation)(*arguments)
    return asyncio.run(getattr(cache, f"a{operation}")(*arguments))


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("outage", ["stop", "freeze"])
@pytest.mark.parametrize("fallback", [None, LOCMEM], ids=["alone", "locmem"])
def test_an_outage(make, redis, awaited, outage, fallback):
    """No operation raises or hangs in an outage: it is a miss, or the fallback's answer, and the counts say so."""
    with FakeClock() as clock:
        cache = make(**({} if fallback is None else {"fallback": fallback}))
        assert asked(cache, "set", ("kept", 1), awaited=awaited) is None
        assert asked(cache, "get", ("kept",), awaited=awaited) == 1
        assert cache.answered == {}
        getattr(redis, outage)()
        for operation, arguments, empty, answered in OPERATIONS:
            expected = empty if fallback is None else answered
            assert asked(cache, operation, arguments, awaited=awaited) == expected, operation
        assert sum(cache.answered.values()) >= len(OPERATIONS)
        assert cache.health().status == "warn"
        restore(redis)
        clock.advance(11.0)
        asked(cache, "set", ("after", 2), awaited=awaited)
        assert asked(cache, "get", ("after",), awaited=awaited) == 2
        assert cache.health().state == "closed"
        if fallback is not None:
            assert cache._inner("fallback").get("e") is None, "what it held is old at the next outage"


def test_what_the_caller_does_wrong_is_raised(make):
    """Errors of the caller are raised as ever, open no breaker, and count as no answer of a fallback."""
    cache = make()
    for _ in range(5):
        with pytest.raises((TypeError, AttributeError), match="pickle|local"):
            cache.set("a", lambda: None)
        with pytest.raises(ValueError, match="not found"):
            cache.incr("missing")
        cache.set("text", "abc")
        with pytest.raises(Exception, match="not an integer"):
            cache.incr("text")
    assert cache.health().state == "closed"
    assert cache.answered == {}


def test_the_deadline_of_a_request(make, redis):
    """A request's own deadline ends an operation earlier than its timeout."""
    cache = make(timeout=30.0)
    cache.get("a")
    redis.freeze()
    with lazyguard.deadline(0.05):
        assert cache.get("a", "none") == "none"


def test_where_fallbacks_are_denied(make, redis):
    """A miss is no stand-in: also where fallbacks are denied nothing is raised; the fallback is not asked."""
    cache = make(fallback=LOCMEM)
    redis.stop()
    cache.set("a", 1)
    with lazyguard.fallbacks("deny"):
        assert cache.get("a", "none") == "none"
        assert asyncio.run(cache.aget("a", "none")) == "none"
    assert cache.get("a") == 1


def test_an_inner_cache_with_async_methods_of_its_own(make):
    """They are awaited on the loop, cancelled at the timeout, and have a breaker of their own."""
    from django.core.cache.backends.base import BaseCache

    from lazyguard.integrations.django import Cache

    class Native(BaseCache):
        hangs = False

        def __init__(self, location, params):
            super().__init__(params)

        async def aget(self, key, default=None, version=None):
            if Native.hangs:
                await asyncio.Event().wait()
            return f"awaited {key}"

    sys.modules["native_caches"] = module = type(sys)("native_caches")
    module.Native = Native
    cache = Cache("", {"OPTIONS": {"backend": "native_caches.Native", "timeout": 0.05}})
    assert asyncio.run(cache.aget("a")) == "awaited a"
    Native.hangs = True
    for _ in range(4):
        assert asyncio.run(cache.aget("a", "none")) == "none"
    assert cache.answered == {"get": 4}
    del sys.modules["native_caches"]


def test_all_threads_share_a_breaker(make, redis):
    """Caches of one entry share its breaker: once it is open, no thread waits for the server."""
    cache = make()
    redis.stop()
    for _ in range(3):
        cache.get("a")
    other = type(cache)(cache._location, cache._params)
    assert other.health().state == "open"
    assert other is not cache


def test_nothing_is_built_before_it_is_used(redis):
    """Making caches, looking at them and closing them imports no client and connects nowhere."""
    program = f"""
        import sys
        from django.conf import settings
        settings.configure(CACHES={{"default": {{"BACKEND": "{OURS}", "LOCATION": "redis://127.0.0.1:1",
            "OPTIONS": {{"backend": "{REDIS}", "fallback": "{LOCMEM}"}}}}}})
        from django.core.cache import caches
        import lazyguard
        assert caches["default"].health().state == "closed"
        assert lazyguard.health().status == "pass"
        repr(caches["default"])
        caches.close_all()
        assert caches["default"]._made == {{}}
        assert "redis" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", dedent(program)], check=True, timeout=30)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "backend"),
        ({"backend": "redis"}, "backend"),
        ({"backend": 5}, "backend"),
        ({"backend": REDIS, "fallback": "no_alias"}, "fallback"),
        ({"backend": REDIS, "timeout": 0}, "timeout"),
        ({"backend": REDIS, "breaker": {"open_time": 0}}, "open_time"),
    ],
)
def test_bad_options(make, options, match):
    """An option that cannot be right is refused where the cache is made."""
    from lazyguard.integrations.django import Cache

    with pytest.raises(lazyguard.errors.ConfigurationError, match=match):
        Cache("", {"OPTIONS": options})


def test_forms_of_a_backend(make):
    """A backend may be an alias of CACHES or an entry of its own; a cache around itself is refused."""
    from django.test import override_settings

    from lazyguard.integrations.django import Cache

    own = {"backend": "itself"}
    caches = {"near": {"BACKEND": LOCMEM, "LOCATION": "near"}, "itself": {"BACKEND": OURS, "OPTIONS": own}}
    with override_settings(CACHES=caches):
        by_alias = Cache("", {"OPTIONS": {"backend": "near"}})
        by_entry = Cache("", {"OPTIONS": {"backend": {"BACKEND": LOCMEM, "LOCATION": "near"}}})
        by_alias.set("a", 1)
        assert by_entry.get("a") == 1
        with pytest.raises(lazyguard.errors.ConfigurationError, match="itself"):
            Cache("", {"OPTIONS": own})
    with pytest.raises(Exception, match="cannot be imported"):
        Cache("", {"OPTIONS": {"backend": "no.such.Cache"}}).get("a")
