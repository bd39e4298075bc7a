"""The application of `lazy_celery`: a Celery whose waits for broker and result backend keep the deadline.

Invariants: after the deadline neither kombu nor the result backend begins a retry. Without a deadline a worker behaves
like Celery's own. Timeouts and retries of the configuration are not changed.

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
    """The deadline has passed; not an OSError, which kombu and Celery would retry."""


# Whether this process is a worker or its child: there is no default deadline there, since its work must not be lost.
_in_worker: list[bool] = []


@worker_init.connect  # type: ignore[untyped-decorator]
def _mark_worker(**_: Any) -> None:
    _in_worker[:] = [True]


def within(app: Any, seconds: float, work: Any, *arguments: Any, **named: Any) -> Any:
    """Return the result of `work`, within the deadline, or within these seconds without one."""
    without_deadline = deadlines.current() is None and not _in_worker
    if without_deadline:
        _ = app.amqp.producer_pool, app.backend, app.control  # their imports do not count as waiting for a server
    try:
        with deadlines.deadline(seconds) if without_deadline else nullcontext():
            return work(*arguments, **named)
    except OutOfTime as error:
        until = f"{seconds:g} s" if without_deadline else "the time that was left"
        raise OperationalError(f"the broker or the result backend did not answer within {until}: {error}") from error


def _check_deadline() -> None:
    try:
        deadlines.remaining()
    except DeadlineExceeded as error:
        raise OutOfTime(str(error)) from error


# The methods of a result backend that senders call beside send_task; each retries by itself, for 20 seconds and more.
_BACKEND_METHODS = ("ensure", "add_pending_result", "set_chord_size", "apply_chord")


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
        configured.connect(set_timeouts)

    def __reduce_keys__(self) -> dict[str, Any]:
        return {**super().__reduce_keys__(), "longest_wait": self.longest_wait}

    def send_task(self, *arguments: Any, **named: Any) -> Any:
        """Send a task, within the deadline."""
        return within(self, self.longest_wait, super().send_task, *arguments, **named)

    def _task_from_fun(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fun: Any, name: Any = None, base: Any = None, bind: bool = False, **options: Any
    ) -> Any:
        # a lazy class cannot be a base class
        return super()._task_from_fun(fun, name=name, base=resolve(base), bind=bind, **options)

    def _get_backend(self) -> Any:
        backend = super()._get_backend()
        parameters = getattr(backend, "connparams", None)
        if parameters is not None and hasattr(backend, "ConnectionPool") and _is_plain(backend):
            import redis

            parameters["connection_class"] = limited(parameters.get("connection_class", redis.Connection))
            for name in _BACKEND_METHODS:
                setattr(backend, name, partial(within, self, self.longest_wait, getattr(backend, name)))
        return backend


def _is_plain(backend: Any) -> bool:
    """Return whether the backend is a plain Redis; one with sentinels makes its connections itself."""
    return not hasattr(backend, "_get_sentinel_instance")


class DeadlinedControl(Control):  # type: ignore[misc]
    """Remote control that waits for workers no longer than the deadline allows."""

    def broadcast(self, *arguments: Any, timeout: float | None = 1.0, **named: Any) -> Any:
        """Send a command to workers, within the deadline."""
        wait = 1.0 if timeout is None else timeout
        app: Any = self.app

        def broadcast() -> Any:
            _check_deadline()
            return super(DeadlinedControl, self).broadcast(
                *arguments, timeout=min(wait, deadlines.remaining() or wait), **named
            )

        return within(app, app.longest_wait + wait, broadcast)


class Connection(kombu.Connection):  # type: ignore[misc,name-defined]
    """A connection of kombu's; one to a Redis keeps the deadline, as do its clones and those of pools."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        scheme: Any = vars(self)["transport_cls"]
        if isinstance(scheme, str):
            self.transport_cls: Any = _transport(self.get_transport_cls(), scheme)


class Named(type):
    """The metaclass of a transport class that is shown as its scheme, also in URLs."""

    scheme: str

    def __str__(cls) -> str:
        return cls.scheme


class DeadlinedAMQP(AMQP):  # type: ignore[misc]
    """Celery's messaging, on connections that keep the deadline."""

    Connection = BrokerConnection = Connection


@cache
def _transport(found: Any, scheme: str) -> Any:
    """Return a subclass of a Redis transport whose connections keep the deadline; for any other the scheme."""
    channel = getattr(found, "Channel", None)
    if not issubclass(found, _redis_transport()) or channel is None:
        return scheme
    names = ("connection_class", "connection_class_ssl")
    classes = {name: limited(getattr(channel, name)) for name in names if getattr(channel, name, None) is not None}
    deadlined_channel = type(channel.__name__, (channel,), {**classes, "__module__": __name__})
    return Named(found.__name__, (found,), {"Channel": deadlined_channel, "scheme": scheme, "__module__": __name__})


def _redis_transport() -> Any:
    try:
        from kombu.transport.redis import Transport
    except ImportError:
        return ()
    return Transport


@cache
def limited(connection_class: type) -> type:
    """Return a subclass of a connection class of redis-py, which does not connect after the deadline."""
    from lazyguard.integrations._redis_connection import deadlined

    base: Any = deadlined(connection_class)

    def connect(self: Any) -> None:
        _check_deadline()
        base.connect(self)

    return type(base.__name__, (base,), {"connect": connect, "__module__": __name__})


# Short waits, so that the deadline is kept; as many as fill the seconds of Celery's own policies.
_PAUSES = {"interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}


def set_timeouts(sender: Any, source: Any = None, **_: Any) -> None:
    """Set the timeouts that an application's configuration leaves out."""
    app = sender
    if not app.configured:
        return  # the application calls this when it is configured
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
    """Drop every connection of the parent in a forked child, as Celery's own forks do."""
    forked: Any = util
    forked._run_after_forkers()
    app._after_fork()
    backend = app._backend
    consumer = getattr(backend, "result_consumer", None)
    if consumer is not None:
        consumer.on_after_fork()
