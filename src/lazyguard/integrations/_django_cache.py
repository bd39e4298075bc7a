"""A Django cache around another one, which answers as an empty cache does while the other one cannot.

Invariants: no operation raises because the server is away; what its caller does wrong is raised as the inner cache
does. Neither making a cache, looking at it nor closing it makes the inner one. The threads of a process share one
breaker for each entry of CACHES.
"""

from __future__ import annotations

import linecache
import pickle
import sys
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.utils.module_loading import import_string

import lazyguard
from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._base.places import shown
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazyguard.types import Check

OWN = ("backend", "fallback", "timeout", "breaker")
TIMEOUT = 0.5
BREAKER = {"open_time": 1.0, "max_open_time": 10.0}
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
# What lets a backend keep the deadline, or this limit, where its own options say nothing else.
_BOUNDS: dict[str, Callable[[float], dict[str, Any]]] = {
    "django.core.cache.backends.redis.RedisCache": lambda seconds: {"pool_class": _POOL},
    "django_redis.cache.RedisCache": lambda seconds: {"CONNECTION_POOL_CLASS": _POOL},
    "django.core.cache.backends.memcached.PyMemcacheCache": lambda seconds: {
        "timeout": seconds,
        "connect_timeout": seconds,
    },
}
_POOL = "lazyguard.integrations._django_redis.Pool"
# The modules of backends that wait for no server.
_LOCAL = ("backends.locmem", "backends.dummy", "backends.filebased")
# What the caller or the configuration has done wrong: it says nothing of the server.
_WRONG = (
    TypeError,
    ValueError,
    AttributeError,
    NameError,
    LookupError,
    AssertionError,
    NotImplementedError,
    ImportError,
    Warning,
    pickle.PickleError,
    ImproperlyConfigured,
    SynchronousOnlyOperation,
)
# How redis-py tells of a value that is no number, with the type that tells of a full disk too.
_REFUSED = ("value is not", "WRONGTYPE")
# What an operation answers where nothing can be read, and what is written is dropped. A counter counts from zero, and
# `add` has added: what limits rates lets through.
_EMPTY: dict[str, Callable[..., Any]] = {
    "get": lambda key, default=None, version=None, **more: default,
    "get_many": lambda keys, version=None, **more: {},
    "has_key": lambda key, version=None, **more: False,
    "set": lambda key, value, *rest, **more: None,
    "add": lambda key, value, *rest, **more: True,
    "set_many": lambda data, *rest, **more: list(data),
    "touch": lambda key, *rest, **more: False,
    "delete": lambda key, version=None, **more: False,
    "delete_many": lambda keys, version=None, **more: None,
    "clear": lambda **more: None,
    "incr": lambda key, delta=1, version=None, **more: delta,
    "decr": lambda key, delta=1, version=None, **more: -delta,
    "incr_version": lambda key, delta=1, version=None, **more: (version or 1) + delta,
    "decr_version": lambda key, delta=1, version=None, **more: (version or 1) - delta,
}


@final
class _Wrong:
    """What an operation has raised that says nothing of the server."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def _operate(cache: Cache, operation: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        result = getattr(cache._inner("backend"), operation)(*args, **named)
    except Exception as error:
        return _judge(error)
    cache._answers_again()
    return result


async def _aoperate(cache: Cache, operation: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        result = await getattr(cache._inner("backend"), f"a{operation}")(*args, **named)
    except Exception as error:
        return _judge(error)
    cache._answers_again()
    return result


def _judge(error: Exception) -> _Wrong:
    """Return what its caller did wrong; raise again what tells of the server."""
    if isinstance(error, _WRONG) or (type(error).__name__ == "ResponseError" and str(error).startswith(_REFUSED)):
        return _Wrong(error)
    raise error


def _answer(cause: Exception, cache: Cache, operation: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Answer in the place of the inner cache: by the fallback, or as an empty cache does."""
    cache._policies.count(operation)
    if "fallback" in cache.roles:
        cache._policies.diverted = True
        try:
            return _of_fallback(cache._inner("fallback"), operation, args, named)
        except _WRONG as error:
            return _Wrong(error)
        except Exception:
            pass  # it is away as well
    return _EMPTY[operation](*args, **named)


def _of_fallback(fallback: Any, operation: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        return getattr(fallback, operation)(*args, **named)
    except ValueError:
        if operation not in ("incr", "decr"):
            raise
        counted = _EMPTY[operation](*args, **named)  # it began before the fallback was asked
        fallback.set(args[0] if args else named["key"], counted, version=named.get("version"))
        return counted


@final
class _Policies:
    """The policies of one entry of CACHES, and what they have counted in this process."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        timeout = options.get("timeout", TIMEOUT)
        validation.seconds("timeout", timeout)
        breaker: Any = options.get("breaker", BREAKER)
        if isinstance(breaker, dict):
            try:
                breaker = lazyguard.Breaker(**breaker)
            except TypeError as error:
                raise ConfigurationError(
                    f'OPTIONS["breaker"]={shown(breaker)} is invalid: give the options of lazyguard.Breaker.'
                ) from error
        policies = lazyguard.guarded(name=name, timeout=timeout, breaker=breaker)
        self.call: Any = policies(_operate)
        guard: Any = getattr(self.call.health, "__self__")  # noqa: B009 - no checker knows it
        guard.place = _place() or guard.place  # what it has to say names the settings
        self.call.__name__ = name
        self.call.fallback(lambda cause, *args: _answer(cause, *args))
        self._async = lazyguard.guarded(name=f"{name}, async", timeout=timeout, breaker=breaker)
        self._acall: Any = None
        self.answered: dict[str, int] = {}
        self.diverted = False

    async def acall(self, *args: Any) -> Any:
        """Do as `call` does, with a breaker of its own: most inner caches have no async methods, and need none."""
        if self._acall is None:
            self._acall = self._async(_aoperate)
        return await self._acall(*args)

    def count(self, operation: str) -> None:
        """Count one call that the inner cache has not answered."""
        self.answered[operation] = self.answered.get(operation, 0) + 1


def _place() -> str:
    """Return the line of the settings module that names this cache first; "" where there is none."""
    file = getattr(sys.modules.get(settings.SETTINGS_MODULE or ""), "__file__", None)
    lines = enumerate(linecache.getlines(file), 1) if file else ()
    return next((f"{file}:{number}" for number, line in lines if "integrations.django.Cache" in line), "")


# By the identity of an entry's OPTIONS, which is kept, so that no other one can have it.
_known: dict[int, tuple[dict[str, Any], _Policies]] = {}


def _policies_of(options: dict[str, Any]) -> _Policies:
    known = _known.get(id(options))
    if known is None:
        entries = settings.CACHES.items()
        alias = next((f" {alias}" for alias, entry in entries if entry.get("OPTIONS") is options), "")
        known = _known.setdefault(id(options), (options, _Policies(f"cache{alias}", options)))
    return known[1]


def entry_of(role: str, location: Any, params: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """Return the class, the location and the parameters of the inner cache, or of the fallback, as CACHES has them."""
    options = params.get("OPTIONS", {})
    given: Any = options.get(role)
    if isinstance(given, str) and given in settings.CACHES:
        given = settings.CACHES[given]
        if given.get("OPTIONS") is options:
            raise ConfigurationError(f'OPTIONS["{role}"] is the name of the cache itself: name another one.')
    if isinstance(given, dict) and isinstance(given.get("BACKEND"), str):
        entry = {**given, "OPTIONS": {**given.get("OPTIONS", {})}}
        return entry.pop("BACKEND"), entry.pop("LOCATION", ""), entry
    if not isinstance(given, str) or "." not in given:
        raise ConfigurationError(
            f'OPTIONS["{role}"]={shown(given)} is invalid: give the dotted name of a backend, an alias of CACHES, or a '
            "dict as CACHES has it."
        )
    rest = {name: value for name, value in options.items() if name not in OWN}
    if role == "fallback":
        rest, location = {}, f"fallback of {_policies_of(options).call.__name__} {id(options)}"
    return given, location, {**params, "OPTIONS": rest}


def bounds_of(kind: type) -> Callable[[float], dict[str, Any]] | None:
    """Return what makes the options that let a backend keep the deadline; None where none are known."""
    names = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    return next((_BOUNDS[name] for name in names if name in _BOUNDS), None)


def is_bounded(kind: type) -> bool:
    """Return whether a backend keeps its limit by itself: it waits for no server, or is told of the limit."""
    return bounds_of(kind) is not None or kind.__module__.endswith(_LOCAL)


class Cache(BaseCache):  # type: ignore[misc, unused-ignore]
    """A Django cache around any other one: slow and broken servers cost a little time, and never an error.

    In `CACHES`, the entry's own LOCATION, TIMEOUT, KEY_PREFIX, VERSION and KEY_FUNCTION go to the inner cache. So do
    all OPTIONS but the four below.

    Args:
        backend: The inner cache: the dotted name of its class, an alias of `CACHES`, or a dict as `CACHES` has it.
        fallback: A cache that answers meanwhile, given alike. The dotted name of `LocMemCache` gives one in this
            process, which is emptied when the inner one is back. None: reads are misses.
        timeout: Seconds that one operation may take (0.5). Redis and pymemcache keep it, and the deadline of the
            request. Other clients need a limit of their own; `manage.py check` names those.
        breaker: A `lazyguard.Breaker`, or a dict of its options; by default it opens after 3 failures in a row, for
            1 second at first and 10 at most. One call then tries the server again.

    Raises:
        ConfigurationError: An option is invalid.
        ImproperlyConfigured: The inner cache cannot be imported; at its first use.

    While the server does not answer, `get` returns the default, `set` and `delete` do nothing, `add` returns True,
    `set_many` returns all keys as failed, and `incr` and `decr` count from zero. This holds in Celery tasks too, where
    fallbacks are denied otherwise. What was not deleted meanwhile is there again when the server is back. Errors of the
    caller (a wrong key, a value that cannot be pickled, `incr` of a missing key) are raised as ever.

    `answered` has the counts. `lazyguard.health` and the metrics have the breaker as "cache <alias>". The async methods
    use those of the inner cache, where it has its own; else a thread, as in Django. What Django's API does not have
    (`ttl`, `lock`) is that of the inner cache, without policies. In the child of a fork the breaker is closed.
    """

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location, self._params = location, params
        self._options: dict[str, Any] = params.get("OPTIONS", {})
        self._made: dict[str, Any] = {}
        self.roles: tuple[str, ...] = ("backend",) if self._options.get("fallback") is None else ("backend", "fallback")
        entry_of("backend", location, params)
        self._policies = _policies_of(self._options)
        entry_of(self.roles[-1], location, params)

    @property
    def answered(self) -> dict[str, int]:
        """How many calls of this process were answered in the place of the inner cache, by their names."""
        return dict(self._policies.answered)

    def health(self) -> Check:
        """Return the state of the breaker, since when and why."""
        check: Check = self._policies.call.health()
        return check

    def _inner(self, role: str) -> Any:
        """Return the inner cache, or the fallback, which belongs to this thread as this cache does."""
        made = self._made.get(role)
        if made is None:
            name, location, params = entry_of(role, self._location, self._params)
            limits: dict[str, Any] = {}
            try:
                kind = import_string(name)
                bounds = bounds_of(kind)
                if bounds is not None:
                    limits = bounds(self._options.get("timeout", TIMEOUT))
                if _POOL in limits.values():
                    import_string(_POOL)  # and with it the client, which the first operation would wait for
            except ImportError as error:
                raise ImproperlyConfigured(f'OPTIONS["{role}"]={name!r} cannot be imported: {error}') from error
            params["OPTIONS"] = {**limits, **params["OPTIONS"]}
            made = self._made[role] = kind(location, params)
        return made

    def _answers_again(self) -> None:
        """Empty the fallback in this process, if it has answered: what it holds will be old at the next outage."""
        if self._policies.diverted:
            self._policies.diverted = False
            if self._options["fallback"] == LOCMEM:
                self._inner("fallback").clear()

    def _do(self, operation: str, *args: Any, **named: Any) -> Any:
        self._inner("backend")  # the import of its client is not the server's fault
        try:
            found = self._policies.call(self, operation, args, named)
        except Exception:  # no fallback may be served here; a miss is none
            self._policies.count(operation)
            found = _EMPTY[operation](*args, **named)
        return self._ended(found)

    async def _ado(self, operation: str, *args: Any, **named: Any) -> Any:
        name = f"a{operation}"
        if getattr(type(self._inner("backend")), name) is getattr(BaseCache, name):
            return await sync_to_async(self._do)(operation, *args, **named)
        try:
            found = await self._policies.acall(self, operation, args, named)
        except Exception as error:
            found = await sync_to_async(_answer)(error, self, operation, args, named)
        return self._ended(found)

    def _ended(self, found: Any) -> Any:
        """Return an operation's result, or raise what its caller did wrong."""
        if type(found) is _Wrong:
            raise found.error
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("key_func", "key_prefix", "version", "default_timeout"):
            for inner in vars(self).get("_made", {}).values():
                setattr(inner, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_made" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._inner("backend"), name)

    def close(self, **named: Any) -> None:
        """Close the inner cache and the fallback, as far as they are made."""
        for inner in list(self._made.values()):
            inner.close(**named)

    async def aclose(self, **named: Any) -> None:
        """Do as `close` does."""
        for inner in list(self._made.values()):
            await inner.aclose(**named)


def _method(operation: str) -> Any:
    def method(self: Cache, *args: Any, **named: Any) -> Any:
        return self._do(operation, *_kept(args), **named)

    return _dressed(method, operation)


def _amethod(operation: str) -> Any:
    async def method(self: Cache, *args: Any, **named: Any) -> Any:
        return await self._ado(operation, *_kept(args), **named)

    return _dressed(method, f"a{operation}")


def _kept(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments with an iterator as a list: the fallback reads it again."""
    return tuple(list(arg) if hasattr(arg, "__next__") else arg for arg in args[:1]) + args[1:]


def _dressed(method: Any, name: str) -> Any:
    known = getattr(BaseCache, name)
    method.__name__, method.__qualname__, method.__doc__ = name, f"Cache.{name}", known.__doc__
    method.__wrapped__ = known  # for its signature
    return method


def _forwarded(name: str) -> Any:
    def method(self: Cache, *args: Any, **named: Any) -> Any:
        return getattr(self._inner("backend"), name)(*args, **named)

    return _dressed(method, name)


for _name in ("get_backend_timeout", "make_key", "validate_key", "make_and_validate_key"):
    setattr(Cache, _name, _forwarded(_name))
for _operation in _EMPTY:
    setattr(Cache, _operation, _method(_operation))
    setattr(Cache, f"a{_operation}", _amethod(_operation))
