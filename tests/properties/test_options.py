"""What is wrong is refused where it is given: every parameter of every public function and option object.

Each parameter has its line in a table: what is right for it. Values of all kinds are drawn; one that is not right must
be answered with lazyguard's own error, at once, and one that is right with no other error than lazyguard's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import fractions
import importlib
import importlib.util
import inspect
import os
import sys
import tempfile
import threading
from collections.abc import Mapping

import pytest
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

import lazyguard
import lazyguard.audit
import lazyguard.testing
from lazyguard import errors
from lazyguard.integrations import asgi, celery, opentelemetry, prometheus, redis, sqlalchemy, wsgi


class Plain:
    """An object like any other."""

    def work(self) -> int:
        return 1


async def coroutine_function():
    return None


def generator_function():
    yield


def function_of_one(given):
    return None


STRANGE = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.5,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e10,
    1e300,
    10**400,
    -(10**400),
    10**5000,
    2**63,
    1j,
    decimal.Decimal("0.5"),
    fractions.Fraction(1, 2),
    "",
    "x",
    "a b",
    "a.b",
    "a:b",
    ".a",
    "1",
    "json",
    "json:loads",
    "none",
    "/nonexistent",
    "\0",
    "\ud800",
    b"x",
    bytearray(b"x"),
    (),
    (1,),
    ("a",),
    ("a", "b"),
    [],
    ["a"],
    [1],
    {},
    {"a": 1},
    {"a": 0.5},
    {"a": ["b"]},
    {1: 2},
    set(),
    {"a"},
    frozenset(),
    range(3),
    object(),
    Plain(),
    Plain,
    type,
    int,
    dict,
    Exception,
    ValueError,
    ValueError("x"),
    (ValueError,),
    (ValueError, 3),
    KeyboardInterrupt,
    BaseException,
    len,
    print,
    lambda: None,
    function_of_one,
    coroutine_function,
    generator_function,
    Ellipsis,
    NotImplemented,
    os,
    os.environ,
    iter(()),
    lazyguard.Retry(),
    lazyguard.Breaker(),
    lazyguard.Recovery(),
    tenacity.Retrying(),
    tenacity.AsyncRetrying(),
    tenacity.stop_never,
    tenacity.wait_none(),
    lazyguard.audit.Budget(),
    lazyguard.audit.Allowance(),
]
VALUES = st.one_of(
    st.sampled_from(STRANGE),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.text(max_size=4), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.text(max_size=4), st.floats()), max_size=2),
    st.tuples(st.sampled_from([ValueError, OSError, int, "a:B", ""])),
)


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_seconds(value, *, zero=False):
    return is_number(value) and (value > 0 or (zero and value == 0)) and value <= threading.TIMEOUT_MAX


def is_seconds_or_zero(value):
    return is_seconds(value, zero=True)


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= sys.maxsize


def is_share(value):
    return is_number(value) and 0 < value <= 1


def late(right):
    """Return whether it is right, or a plain function without arguments, which is asked for a number later."""
    return lambda value: (
        right(value)
        or (
            hasattr(value, "__code__")
            and value not in (coroutine_function, generator_function)
            and not inspect.signature(value).parameters
        )
    )


def is_text(value):
    return isinstance(value, str)


def is_flag(value):
    return isinstance(value, bool)


def is_module(value):
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def is_name(value):
    """Return whether it names a module, or what one has."""
    module, colon, attribute = value.partition(":") if isinstance(value, str) else ("", "", "")
    return is_module(module) and (not colon or all(part.isidentifier() for part in attribute.split(".")))


def is_failures(value):
    kinds = value if isinstance(value, tuple) else (value,)
    return all(
        (isinstance(kind, type) and issubclass(kind, BaseException))
        or (isinstance(kind, str) and ":" in kind and is_name(kind))
        or (not isinstance(kind, type) and is_plain_function(kind) and kind is not generator_function)
        for kind in kinds
    )


def is_prefix(value):
    return is_text(value) and (value == "" or (value.startswith("/") and not value.endswith("/")))


def is_header(value):
    return is_text(value) and value != "" and all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in value)


def is_factory(value):
    """Return whether it can be called without arguments, and is not async."""
    if not callable(value) or value in (coroutine_function,):
        return False
    try:
        inspect.signature(value).bind()
    except (TypeError, ValueError):
        return not hasattr(value, "__code__")  # a builtin's own affair
    return True


def anything(value):
    return True


def optional(right):
    return lambda value: value is None or right(value)


def one_of(*choices):
    return lambda value: isinstance(value, str) and value in choices


def strings(value):
    return not isinstance(value, str) and isinstance(value, list | tuple | set | frozenset) and all(map(is_text, value))


def all_strings(value):
    """Return whether it is any iterable of strings, and ends."""
    return not isinstance(value, str) and not isinstance(value, tenacity.BaseRetrying) and all(map(is_text, value))


def mapping_of(key, right):
    return lambda value: isinstance(value, Mapping) and all(key(name) and right(one) for name, one in value.items())


def of_type(*kinds):
    return lambda value: isinstance(value, kinds)


def is_plain_function(value):
    return callable(value) and value not in (coroutine_function,)


on_fork = lambda value: (is_text(value) and value in ("keep", "reset")) or callable(value)  # noqa: E731
is_retry = of_type(lazyguard.Retry)
is_async_retry = of_type(tenacity.AsyncRetrying)


def declare_service(factory=None, **options):
    return lazyguard.service(**options)(lambda: [1]) if factory is None else lazyguard.service(factory, **options)


def fallback_of(**options):
    return lazyguard.service(failures=(OSError,))(lambda: [1]).fallback(**options)(lambda: [2])


def filed(**options):
    """Write a file, in a folder that goes."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(options["path"], str):
            options["path"] = os.path.join(folder, "file")
        lazyguard.health_file(**options)()


def drained(**options):
    """Drain, and take it back."""
    from lazyguard._services import readiness

    try:
        lazyguard.drain(**options)
    finally:
        readiness._drains = None


def enter(block):
    with block:
        pass


def started(tracker):
    tracker.stop()


def undone(undo):
    undo()


def required(**options):
    return lazyguard.service()(lambda: [1]).require_real(**options)


def waited(**options):
    return lazyguard.preload().wait(**options)


def awaited(**options):
    return asyncio.run(lazyguard.preload().awaited(**options))


def slowest(**options):
    tracker = lazyguard.track_imports()
    try:
        return tracker.slowest(**options)
    finally:
        tracker.stop()


SERVICE = {
    "name": is_text,
    "timeout": late(optional(is_seconds)),
    "retry": optional(is_retry),
    "breaker": optional(of_type()),  # alone it says nothing
    "recovery": lambda value: value is None or value is ... or isinstance(value, lazyguard.Recovery),
    "failures": is_failures,
    "probe": optional(is_plain_function),
    "close": optional(is_plain_function),
    "critical": is_flag,
    "on_fork": on_fork,
    "abandon_after": late(optional(is_seconds)),
    "grace": late(is_seconds_or_zero),
    "max_keys": optional(of_type()),  # its factory has no parameters
    "max_concurrent": optional(of_type()),
}
WEB = {
    "prefix": is_prefix,
    "details": lambda value: is_flag(value) or value == "places",
    "timeout_header": optional(is_header),
    "timeout": optional(is_seconds),
    "max_timeout": optional(is_seconds),
}
LAZY_ENGINE = {
    "url": lambda value: is_text(value) or callable(value),
    "name": is_text,
    "configure": optional(callable),
}
REPORT = lazyguard.audit.Report("3.11", 5.0, 1, ())
MODULE = {"extra": optional(is_text), "package": optional(is_text), "why": optional(is_text)}
# What is called -> how, with what else, and what is right for each parameter.
TABLE = {
    "lazyguard.lazy": (
        lambda factory=list, **options: lazyguard.lazy(factory, **options),
        {},
        {
            "factory": lambda value: value is None or is_factory(value),
            "name": is_text,
            "on_fork": on_fork,
            "record": strings,
        },
    ),
    "lazyguard.resolve": (lazyguard.resolve, {}, {"obj": anything}),
    "lazyguard.aresolve": (lambda obj: asyncio.run(lazyguard.aresolve(obj)), {}, {"obj": anything}),
    "lazyguard.is_resolved": (lazyguard.is_resolved, {}, {"obj": anything}),
    "lazyguard.is_fallback": (lazyguard.is_fallback, {}, {"obj": anything}),
    "lazyguard.reset": (lazyguard.reset, {}, {"obj": of_type()}),
    "lazyguard.override": (
        lambda obj, value: enter(lazyguard.override(obj, value)),
        {"obj": lazyguard.lazy(list), "value": 1},
        {"obj": of_type(), "value": anything},
    ),
    "lazyguard.pinned": (lambda of: enter(lazyguard.pinned(of)), {}, {"of": of_type()}),
    "lazyguard.attach": (
        lazyguard.attach,
        {"package_name": "tests.no_package"},
        {
            "package_name": is_text,
            "submodules": optional(all_strings),
            "submod_attrs": optional(mapping_of(is_text, strings)),
            "absolute_attrs": optional(mapping_of(is_text, strings)),
        },
    ),
    "lazyguard.attach_stub": (
        lazyguard.attach_stub,
        {"package_name": "tests.no_package", "filename": "/nonexistent/stub.py"},
        {"package_name": is_module, "filename": is_text},
    ),
    "lazyguard.lazy_attribute": (lambda factory: lazyguard.lazy_attribute(factory), {}, {"factory": is_text}),
    "lazyguard.load": (
        lazyguard.load,
        {"fullname": "json"},
        {"fullname": is_name, "require": optional(is_text), "error_on_import": is_flag, "suppress_warning": is_flag},
    ),
    "lazyguard.import_guard": (
        lambda **options: enter(lazyguard.import_guard(**options)),
        {"timeout": 60.0},
        {
            "timeout": optional(is_seconds),
            "network": optional(one_of("forbid", "warn")),
            "subprocess": optional(one_of("forbid", "warn")),
        },
    ),
    "lazyguard.once": (
        lambda function=len, key="key": lazyguard.once(function) if key == "key" else lazyguard.once(key=key)(print),
        {},
        {"function": lambda value: hasattr(value, "__code__"), "key": lambda value: is_text(value) and value != ""},
    ),
    "lazyguard.optional_import": (
        lambda **options: lazyguard.optional_import(**options) and None,
        {"name": "no_such_module"},
        {"name": is_module, **MODULE},
    ),
    "lazyguard.require": (lazyguard.require, {"name": "json"}, {"name": is_module, **MODULE}),
    "lazyguard.prevent_duplicate_imports": (
        lambda **options: undone(lazyguard.prevent_duplicate_imports(**options)),
        {"package": "tests.no_package"},
        {"package": is_module, "action": one_of("alias", "warn", "error")},
    ),
    "lazyguard.when_imported": (lazyguard.when_imported, {}, {"name": is_module}),
    "when_imported(...)": (lazyguard.when_imported("no_such_module"), {}, {"hook": callable}),
    "lazyguard.Breaker": (
        lazyguard.Breaker,
        {},
        {
            "failure_threshold": late(optional(is_whole)),
            "failure_rate": optional(of_type()),  # needs a window
            "window_calls": optional(of_type()),
            "window_seconds": optional(of_type()),
            "minimum_calls": optional(of_type()),
            "open_time": late(lambda value: is_seconds(value) and value <= 120.0),
            "max_open_time": late(lambda value: is_seconds(value) and value >= 10.0),
            "half_open_timeout": late(is_seconds),
            "success_threshold": late(is_whole),
            "slow_call_duration": late(optional(is_seconds)),
            "on": is_failures,
            "ignore": is_failures,
        },
    ),
    "Breaker(failure_rate=)": (
        lazyguard.Breaker,
        {"failure_rate": 0.5, "window_calls": 10},
        {
            "failure_rate": late(is_share),
            "window_calls": late(is_whole),
            "minimum_calls": late(lambda value: value is None or (is_whole(value) and value <= 10)),
        },
    ),
    "Breaker(window_seconds=)": (lazyguard.Breaker, {"failure_rate": 0.5}, {"window_seconds": late(is_seconds)}),
    "lazyguard.Recovery": (
        lazyguard.Recovery,
        {},
        {"initial": late(is_seconds), "maximum": late(is_seconds), "success_threshold": late(is_whole)},
    ),
    "lazyguard.Retry": (
        lazyguard.Retry,
        {},
        {
            "attempts": late(optional(is_whole)),
            "initial": late(optional(is_seconds_or_zero)),
            "maximum": late(optional(is_seconds_or_zero)),
            "on": optional(is_failures),
            "stop": optional(callable),
            "wait": optional(callable),
            "retry": optional(callable),
            "retrying": optional(of_type(tenacity.BaseRetrying)),
        },
    ),
    "lazyguard.deadline": (lambda seconds: enter(lazyguard.deadline(seconds)), {}, {"seconds": is_seconds}),
    "lazyguard.fallbacks": (
        lambda permission: enter(lazyguard.fallbacks(permission)),
        {},
        {"permission": one_of("allow", "deny")},
    ),
    "lazyguard.guarded": (
        lambda **options: lazyguard.guarded(**options)(lambda: 1)(),
        {},
        {
            "name": is_text,
            "timeout": late(optional(is_seconds)),
            "retry": lambda value: (
                value is None
                or is_retry(value)
                or (isinstance(value, tenacity.BaseRetrying) and not is_async_retry(value))
            ),
            "breaker": optional(of_type(lazyguard.Breaker)),
            "key": optional(of_type()),  # needs a breaker
            "max_concurrent": late(optional(is_whole)),
        },
    ),
    "guarded(key=)": (
        lambda **options: lazyguard.guarded(breaker=lazyguard.Breaker(), **options),
        {},
        {"key": optional(is_plain_function)},
    ),
    "guarded(...).fallback": (
        lambda **options: lazyguard.guarded()(lambda: 1).fallback(**options)(lambda: 2),
        {},
        {"on": lambda value: value is None or is_failures(value)},
    ),
    "lazyguard.set_active": (
        lambda active: lazyguard.set_active(active) or lazyguard.set_active(True),
        {},
        {"active": is_flag},
    ),
    "guarded(...)": (
        lambda function: lazyguard.guarded()(function),
        {},
        {"function": lambda value: callable(value) and value is not generator_function},
    ),
    "lazyguard.mock_service": (
        lambda kind, **options: lazyguard.mock_service(kind, **options),
        {"kind": Plain},
        {"kind": of_type(type), "returns": optional(mapping_of(lambda name: name == "work", anything))},
    ),
    "lazyguard.service": (
        declare_service,
        {},
        {"factory": lambda value: value is None or (callable(value) and value is not generator_function), **SERVICE},
    ),
    "fallback": (
        fallback_of,
        {},
        {
            "timeout": late(optional(is_seconds)),
            "max_degraded": late(optional(is_seconds)),
            "partial": is_flag,
            "answers_failed_calls": is_flag,
            "close": optional(is_plain_function),
        },
    ),
    "require_real": (required, {}, {"timeout": optional(is_seconds)}),
    "lazyguard.preload": (
        lambda **options: lazyguard.preload("json", **options).wait(30),
        {},
        {"concurrency": is_whole, "progress": optional(callable)},
    ),
    "lazyguard.wait_until_ready": (
        lazyguard.wait_until_ready,
        {},
        {"timeout": is_seconds},
    ),
    "lazyguard.await_until_ready": (
        lambda **options: asyncio.run(lazyguard.await_until_ready(**options)),
        {},
        {"timeout": is_seconds},
    ),
    "lazyguard.drain": (drained, {"delay": 86400.0}, {"delay": is_seconds_or_zero, "then": optional(callable)}),
    "lazyguard.health_file": (
        filed,
        {"path": "no_file"},
        {"path": of_type(str, os.PathLike), "every": is_seconds},
    ),
    "preload(...)": (lambda what: lazyguard.preload(what).wait(30), {}, {"what": is_name}),
    "wait": (waited, {}, {"timeout": optional(is_seconds_or_zero)}),
    "awaited": (awaited, {}, {"timeout": optional(is_seconds_or_zero)}),
    "lazyguard.subscribe": (lambda listener: undone(lazyguard.subscribe(listener)), {}, {"listener": callable}),
    "lazyguard.track_imports": (
        lambda **options: started(lazyguard.track_imports(**options)),
        {},
        {"budget": optional(is_seconds), "budgets": optional(mapping_of(is_text, is_seconds))},
    ),
    "slowest": (slowest, {}, {"count": is_whole}),
    "lazyguard.testing.FakeClock.advance": (
        lazyguard.testing.FakeClock().advance,
        {},
        {"seconds": lambda value: is_seconds_or_zero(value) or isinstance(value, bool)},
    ),
    "lazyguard.testing.assert_conforms": (
        lazyguard.testing.assert_conforms,
        {"fallback": Plain(), "real": Plain},
        {"fallback": anything, "real": of_type(type), "partial": is_flag},
    ),
    "lazyguard.testing.chaos": (
        lambda of=None, **options: enter(lazyguard.testing.chaos(CHAOTIC if of is None else of, **options)),
        {},
        {
            "of": lambda value: value is None,
            "latency": is_seconds_or_zero,
            "error": lambda value: (
                value is None or is_failures(value) or isinstance(value, BaseException) or callable(value)
            ),
            "rate": lambda value: is_number(value) and 0 <= value <= 1,
            "seed": optional(of_type(int, str, bytes)),
        },
    ),
    "lazyguard.testing.set_testing": (
        lambda testing=True, **options: enter(lazyguard.testing.set_testing(testing, **options)),
        {},
        {"testing": is_flag, "attempts": is_whole},
    ),
    "lazyguard.audit.Budget": (
        lazyguard.audit.Budget,
        {},
        {
            "seconds": optional(is_seconds_or_zero),
            "modules": optional(lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0),
            "forbid": all_strings,
            "allowance": optional(of_type(lazyguard.audit.Allowance)),
        },
    ),
    "lazyguard.audit.Allowance": (
        lazyguard.audit.Allowance,
        {},
        {"seconds": is_seconds_or_zero, "relative": lambda value: is_number(value) and 0 <= value < float("inf")},
    ),
    "lazyguard.integrations.asgi.Middleware": (
        asgi.Middleware,
        {},
        {"app": optional(callable), "cancel": is_flag, **WEB},
    ),
    "lazyguard.integrations.wsgi.Middleware": (wsgi.Middleware, {}, {"app": optional(callable), **WEB}),
    "lazyguard.integrations.celery.lazy_celery": (
        celery.lazy_celery,
        {"main": "tests", "default": False},
        {
            "main": is_text,
            "configure": optional(callable),
            "timeout": optional(is_seconds),
            "default": is_flag,
            "broker": optional(lambda value: is_text(value) or all_strings(value)),
        },
    ),
    "lazyguard.integrations.opentelemetry.install": (
        lambda **options: undone(opentelemetry.install(**options)),
        {},
        {"provider": optional(of_type()), "most_names": is_whole},
    ),
    "lazyguard.integrations.prometheus.install": (
        lambda registry=None, **options: undone(prometheus.install(registry or CollectorRegistry(), **options)),
        {},
        {"registry": lambda value: not value, "most_names": is_whole},
    ),
    "lazyguard.integrations.sqlalchemy.make_engine": (
        sqlalchemy.make_engine,
        {"url": "sqlite://"},
        {
            "url": is_text,
            "connect_timeout": is_seconds,
            "poolclass": optional(of_type()),
            "no_such_option": of_type(),
        },
    ),
    "lazyguard.integrations.sqlalchemy.make_async_engine": (
        sqlalchemy.make_async_engine,
        {"url": "sqlite://"},
        {"url": of_type(), "connect_timeout": of_type()},  # it has no async driver
    ),
    "lazyguard.integrations.sqlalchemy.lazy_engine": (sqlalchemy.lazy_engine, {"url": "sqlite://"}, LAZY_ENGINE),
    "lazyguard.integrations.sqlalchemy.lazy_async_engine": (
        sqlalchemy.lazy_async_engine,
        {"url": "sqlite://"},
        LAZY_ENGINE,
    ),
    "lazyguard.audit.compare": (
        lambda **options: lazyguard.audit.compare(**options),
        {"before": REPORT, "after": REPORT},
        {"before": of_type(lazyguard.audit.Report), "after": of_type(lazyguard.audit.Report)},
    ),
    "lazyguard.audit.table": (
        lazyguard.audit.table,
        {"report": REPORT},
        {
            "report": of_type(lazyguard.audit.Report),
            "other": optional(of_type(lazyguard.audit.Report)),
            "color": is_flag,
            "width": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        },
    ),
    "lazyguard.integrations.redis.redis_client": (redis.redis_client, {}, {"url": of_type()}),
    "lazyguard.integrations.redis.aredis_client": (
        lambda url: asyncio.run(redis.aredis_client(url)),
        {},
        {"url": of_type()},
    ),
    "lazyguard.integrations.redis.lazy_redis": (
        redis.lazy_redis,
        {"url": "redis://localhost"},
        {"url": lambda value: is_text(value) or callable(value), "name": is_text},
    ),
}
CHAOTIC = lazyguard.service()(lambda: [1])
is_place = of_type(str, os.PathLike)


# An audit is refused before it begins: what is right is not run.
def is_part(text):
    """Whether it is such as 2/4."""
    number, _, count = text.partition("/")
    plain = all(each.isascii() and each.isdecimal() and len(each) < 7 for each in (number, count))
    return plain and 1 <= int(number) <= int(count)


AUDIT = {
    "targets": all_strings,
    "path": lambda value: is_place(value) or (isinstance(value, list | tuple) and all(map(is_place, value))),
    "python": is_text,
    "exclude": all_strings,
    "setup": is_text,
    "memory": optional(is_whole),
    "shard": lambda value: value is None or (isinstance(value, str) and is_part(value)),
    "timeout": is_seconds,
    "slow": is_seconds_or_zero,
    "jobs": optional(is_whole),
    "repeat": is_whole,
    "walk": is_flag,
    "fork": optional(is_flag),
    "env": optional(mapping_of(is_text, is_text)),
    "budgets": optional(mapping_of(is_text, of_type(lazyguard.audit.Budget))),
    "advice": is_flag,
    "progress": optional(callable),
    "advising": optional(callable),
}


@contextlib.contextmanager
def django_settings(**given):
    """Let Django have these settings alone, whatever it has been configured with."""
    from django.conf import UserSettingsHolder, global_settings, settings

    before, settings._wrapped = settings._wrapped, UserSettingsHolder(global_settings)
    for name, value in given.items():
        setattr(settings, name, value)
    try:
        yield
    finally:
        settings._wrapped = before


def django_cache(**options):
    from lazyguard.integrations.django import Cache

    with django_settings(CACHES={"default": {"BACKEND": LOCMEM}, "other": {"BACKEND": LOCMEM}}):
        Cache("", {"OPTIONS": {"backend": LOCMEM, **options}})


def django_middleware(**options):
    from lazyguard.integrations.django import Middleware

    with django_settings(LAZYGUARD=options):
        Middleware(lambda request: request)


LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def is_cache(value):
    if isinstance(value, dict):
        value = value["BACKEND"]
        return isinstance(value, str)
    return isinstance(value, str) and ("." in value or value in ("default", "other"))


def is_breaker(value):
    if isinstance(value, dict):
        try:
            lazyguard.Breaker(**value)
        except (TypeError, errors.ConfigurationError):
            return False
        return True
    return value is None or isinstance(value, lazyguard.Breaker)


if importlib.util.find_spec("django"):
    TABLE["lazyguard.integrations.django.Middleware"] = (django_middleware, {}, WEB)
    TABLE["lazyguard.integrations.django.Cache"] = (
        django_cache,
        {},
        {"backend": is_cache, "fallback": optional(is_cache), "timeout": is_seconds, "breaker": is_breaker},
    )
PARAMETERS = [(name, parameter) for name, (_, _, right) in TABLE.items() for parameter in right]
quietly = settings(
    max_examples=settings.default.max_examples * 3 // 5,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def check(call, given, right, value) -> None:
    try:
        is_right = bool(right(value))
    except Exception:
        is_right = False
    try:
        call(**given)
    except errors.LazyguardError as error:
        text = str(error)
    else:
        assert is_right, "accepted silently"
        return
    assert text.strip()
    assert is_right or len(text) < 2000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_what_is_wrong_is_refused(name, parameter):
    call, others, table = TABLE[name]

    @quietly
    @given(VALUES)
    def draw(value):
        check(call, {**others, parameter: value}, table[parameter], value)

    draw()


class Begun(Exception):
    """An audit has accepted its options, and would begin."""


@pytest.mark.parametrize("parameter", AUDIT)
def test_what_is_wrong_is_refused_by_an_audit(parameter, monkeypatch):
    def begin(*_, **__):
        raise Begun

    monkeypatch.setattr("lazyguard.audit.processes.plan.ask", begin)

    def call(**options):
        with contextlib.suppress(Begun):
            lazyguard.audit.audit(**options)

    @quietly
    @given(VALUES)
    def draw(value):
        check(call, {"targets": ["tests"], parameter: value}, AUDIT[parameter], value)

    draw()


# What is returned, and what is made for no user's hands.
RESULTS = {
    "Report",
    "ModuleReport",
    "Imported",
    "Blame",
    "Cause",
    "Failure",
    "Finding",
    "Place",
    "Spending",
    "Against",
    "Slower",
    "Comparison",
    "Row",
}
# Without options.
WITHOUT = {"lazyguard.aclose", "lazyguard.close", "lazyguard.health", "lazyguard.remaining", "lazyguard.lazy_imports"}


def test_the_table_has_all_names():
    """A public function, or an option, that is new has its line."""
    missing = []
    modules = ["lazyguard", "lazyguard.testing", "lazyguard.audit"]
    modules += [f"lazyguard.integrations.{name}" for name in "asgi celery opentelemetry prometheus redis wsgi".split()]
    for module in map(importlib.import_module, modules):
        for name in module.__all__:
            public = f"{module.__name__}.{name}"
            thing = getattr(module, name)
            if not callable(thing) or name in RESULTS or public in WITHOUT or public.endswith("FakeClock"):
                continue
            if isinstance(thing, type) and issubclass(thing, BaseException):
                continue
            wanted = {
                one.name
                for one in inspect.signature(thing).parameters.values()
                if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            }
            known = set(AUDIT) if public == "lazyguard.audit.audit" else set(TABLE.get(public, (0, 0, {}))[2])
            missing += [f"{public}({one}=)" for one in sorted(wanted - known)]
    assert not missing
