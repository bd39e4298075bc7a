"""The real application behind `lazy_celery`: a Celery whose waits for broker and result backend end with the deadline.

Invariants: where the time is over no retry begins, of kombu's or of the result backend's; without a deadline a worker
goes on as Celery's own would; what a configuration says of time-outs and retries is left as it is.

Measured on a Redis that is silent, stopped or refuses; `docs/howto/celery.md` has the figures.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import kombu
from billiard import util
from celery import Celery
from celery.app.amqp import AMQP
from celery.app.control import Control
from celery.app.defaults import DEFAULTS
from celery.signals import worker_init
from kombu.exceptions import OperationalError

from lazyguard._core import deadlines
from lazyguard._lazy_imports.access import resolve
from lazyguard.errors import DeadlineExceeded, LazyguardError


class OutOfTime(LazyguardError):
    """The deadline has passed, and nothing is to be tried again; no OSError, which kombu and Celery would retry."""


# Whether this process is a worker, or a child of one: there no deadline is made up, since its work is to be kept.
_works: list[bool] = []


@worker_init.connect  # type: ignore[untyped-decorator]
def _begin_work(**_: Any) -> None:
    _works[:] = [True]


def within(app: Any, seconds: float, work: Any, *arguments: Any, **named: Any) -> Any:
    """Return what `work` returns, within the deadline, or these seconds where there is none."""
    own = deadlines.current() is None and not _works
    if own:
        _ = app.amqp.producer_pool, app.backend, app.control  # what is imported for them is no wait for a server
    try:
        with deadlines.deadline(seconds) if own else nullcontext():
            return work(*arguments, **named)
    except OutOfTime as error:
        until = f"{seconds:g} s" if own else "the time that was left"
        raise OperationalError(f"the broker or the result backend did not answer within {until}: {error}") from error


def _in_time() -> None:
    try:
        deadlines.remaining()
    except DeadlineExceeded as error:
        raise OutOfTime(str(error)) from error


# What senders call on a result backend beside send_task; each retries by itself, a chord for 20 seconds and more.
_ASKED = ("ensure", "add_pending_result", "set_chord_size", "apply_chord")


class App(Celery):  # type: ignore[misc]
    """A Celery application that keeps the deadline, or `longest_wait` where there is none.

    Args:
        longest_wait: Seconds.
    """

    amqp_cls = "lazyguard.integrations._celery_app:DeadlinedAMQP"
    control_cls = "lazyguard.integrations._celery_app:DeadlinedControl"

    def __init__(self, *arguments: Any, longest_wait: float = 2.0, **named: Any) -> None:
        self.longest_wait = longest_wait
        super().__init__(*arguments, **named)
        configured: Any = self.on_after_configure
        configured.connect(bound)

    def __reduce_keys__(self) -> dict[str, Any]:
        return {**super().__reduce_keys__(), "longest_wait": self.longest_wait}

    def send_task(self, *arguments: Any, **named: Any) -> Any:
        """Send a task, within the deadline."""
        return within(self, self.longest_wait, super().send_task, *arguments, **named)

    def _task_from_fun(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fun: Any, name: Any = None, base: Any = None, bind: bool = False, **options: Any
    ) -> Any:
        # a lazy class is no base
        return super()._task_from_fun(fun, name=name, base=resolve(base), bind=bind, **options)

    def _get_backend(self) -> Any:
        backend = super()._get_backend()
        parameters = getattr(backend, "connparams", None)
        if parameters is not None and hasattr(backend, "ConnectionPool") and _is_plain(backend):
            import redis

            parameters["connection_class"] = bounded(parameters.get("connection_class", redis.Connection))
            for name in _ASKED:
                setattr(backend, name, partial(within, self, self.longest_wait, getattr(backend, name)))
        return backend


def _is_plain(backend: Any) -> bool:
    """Return whether it is a Redis and not its sentinels, which make their connections themselves."""
    return not hasattr(backend, "_get_sentinel_instance")


class DeadlinedControl(Control):  # type: ignore[misc]
    """Remote control that waits for workers no longer than the deadline lets it."""

    def broadcast(self, *arguments: Any, timeout: float | None = 1.0, **named: Any) -> Any:
        """Ask workers, within the deadline."""
        wait = 1.0 if timeout is None else timeout
        app: Any = self.app

        def ask() -> Any:
            _in_time()
            return super(DeadlinedControl, self).broadcast(
                *arguments, timeout=min(wait, deadlines.remaining() or wait), **named
            )

        return within(app, app.longest_wait + wait, ask)


class Connection(kombu.Connection):  # type: ignore[misc,name-defined]
    """A connection of kombu's; to a Redis, one that keeps the deadline, and so do its clones and those of pools."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        scheme: Any = vars(self)["transport_cls"]
        if isinstance(scheme, str):
            self.transport_cls: Any = _transport(self.get_transport_cls(), scheme)


class Named(type):
    """The class of a transport class that is shown as its scheme, in URLs too."""

    scheme: str

    def __str__(cls) -> str:
        return cls.scheme


class DeadlinedAMQP(AMQP):  # type: ignore[misc]
    """Celery's messaging, on such connections."""

    Connection = BrokerConnection = Connection


@cache
def _transport(found: Any, scheme: str) -> Any:
    """Return a subclass of a transport to a Redis whose connections keep the deadline; the scheme of any other."""
    channel = getattr(found, "Channel", None)
    if not issubclass(found, _redis_transport()) or channel is None:
        return scheme
    names = ("connection_class", "connection_class_ssl")
    classes = {name: bounded(getattr(channel, name)) for name in names if getattr(channel, name, None) is not None}
    bounded_channel = type(channel.__name__, (channel,), {**classes, "__module__": __name__})
    return Named(found.__name__, (found,), {"Channel": bounded_channel, "scheme": scheme, "__module__": __name__})


def _redis_transport() -> Any:
    try:
        from kombu.transport.redis import Transport
    except ImportError:
        return ()
    return Transport


@cache
def bounded(connection_class: type) -> type:
    """Return a subclass of a connection class of redis-py's, which does not connect when the time is over."""
    from lazyguard.integrations._redis_connection import deadlined

    base: Any = deadlined(connection_class)

    def connect(self: Any) -> None:
        _in_time()
        base.connect(self)

    return type(base.__name__, (base,), {"connect": connect, "__module__": __name__})


# Short waits, so that a deadline is kept; as many of them as fill the seconds that Celery's own policies take.
_PAUSES = {"interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}


def bound(sender: Any, source: Any = None, **_: Any) -> None:
    """Give an application the time-outs that its configuration leaves out."""
    app = sender
    if not app.configured:
        return  # it calls this when it is
    conf, seconds = app.conf, app.longest_wait
    sockets = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    conf.broker_transport_options = {
        **sockets,
        **_PAUSES,
        "connect_retries_timeout": seconds,
        **(conf.broker_transport_options or {}),
    }
    results = conf.result_backend_transport_options or {}
    patience = {**_PAUSES, "max_retries": 100, "timeout": 20.0, **results.get("retry_policy", {})}
    conf.result_backend_transport_options = {**results, "retry_policy": patience}
    for name, value in (
        ("redis_socket_timeout", seconds),
        ("redis_socket_connect_timeout", seconds),
        ("task_publish_retry_policy", {"max_retries": 3, **_PAUSES}),
    ):
        if conf[name] == _default(name):
            conf[name] = value


def _default(name: str) -> Any:
    return DEFAULTS[name]


def renew(app: Any) -> None:
    """Let go, in a forked child, of every connection that the parent has; Celery's own forks do no more."""
    forked: Any = util
    forked._run_after_forkers()
    app._after_fork()
    backend = app._backend
    consumer = getattr(backend, "result_consumer", None)
    if consumer is not None:
        consumer.on_after_fork()
