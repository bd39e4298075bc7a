"""The application of `lazy_celery`: a Celery whose waits for broker and result backend keep the deadline.

Invariants: after the deadline neither kombu nor the result backend begins a retry. Without a deadline a worker behaves
like Celery's own. Timeouts and retries of the configuration are not changed. An error that tells of a wait has the
place of the application.

Measured on a Redis and a RabbitMQ that are silent, stopped or refuse; `docs/howto/celery.md` has the figures.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from billiard import util
from celery import Celery
from celery.app.control import Control
from celery.app.defaults import DEFAULTS
from celery.signals import worker_init
from celery.utils.objects import FallbackContext
from kombu.exceptions import LimitExceeded, OperationalError

from lazyguard._core import clock, deadlines
from lazyguard._lazy_imports.access import resolve
from lazyguard._policies import failures
from lazyguard.errors import DeadlineExceeded
from lazyguard.integrations import _celery_brokers as brokers
from lazyguard.integrations._celery_kinds import check_backend, check_brokers

# Whether this process is a worker or its child: there is no default deadline there, since its work must not be lost.
_in_worker: list[bool] = []


@worker_init.connect  # type: ignore[untyped-decorator]
def _mark_worker(**_: Any) -> None:
    _in_worker[:] = [True]


def within(app: Any, seconds: float | None, work: Any, *arguments: Any, **named: Any) -> Any:
    """Return the result of `work`, within these seconds and the caller's deadline; in a worker within that alone."""
    given = deadlines.current()
    if seconds is None or (_in_worker and given is None):
        return work(*arguments, **named)
    _ = app.amqp.producer_pool, app.backend, app.control  # their imports do not count as waiting for a server
    own, began = deadlines.Deadline(seconds, f"the timeout of {seconds:g} s has passed"), clock.now()
    try:
        with own:
            return work(*arguments, **named)
    except (brokers.OutOfTime, LimitExceeded, OperationalError) as error:
        if failures.is_told(error):
            raise
        by = f"{seconds:g} s" if given is None or own.ends < given.ends else "the time that the caller's deadline left"
        late = isinstance(error, brokers.OutOfTime) or own.ends <= clock.now()
        did = f"did not answer within {by}" if late else f"cannot be used: {type(error.__cause__ or error).__name__}"
        told = OperationalError(
            f"the broker or the result backend of the Celery app {app.main}, declared at {app.place}, {did}. See that "
            f"both run and can be reached from here; timeout={app.longest_wait:g} there gives them that many seconds."
        )
        raise failures.told(told, seconds, began) from error


# The methods of a result backend that senders call beside send_task; each retries by itself, for 20 seconds and more.
_BACKEND_METHODS = ("ensure", "add_pending_result", "set_chord_size", "apply_chord")


def _got(wait: Any, *arguments: Any, **named: Any) -> Any:
    """Return a result, for which the caller waits by its own timeout and deadline."""
    try:
        return wait(*arguments, **named)
    except brokers.OutOfTime as error:
        raise DeadlineExceeded(str(error)) from error


def _drained(drain: Any, timeout: float | None = None) -> Any:
    """Wait for news of results; Celery takes a client's time-out for none, and would wait on."""
    return drain(timeout=brokers.least(timeout))


class App(Celery):  # type: ignore[misc]
    """A Celery application that keeps the deadline, or `longest_wait` where there is none.

    Args:
        longest_wait: Seconds; None for Celery's own waits.
        place: Where it was declared.
    """

    control_cls = "lazyguard.integrations._celery_app:DeadlinedControl"

    def __init__(self, *arguments: Any, longest_wait: float | None, place: str, **named: Any) -> None:
        self.longest_wait, self.place = longest_wait, place
        if longest_wait is not None:
            named.setdefault("amqp", "lazyguard.integrations._celery_brokers:DeadlinedAMQP")
        super().__init__(*arguments, **named)
        configured: Any = self.on_after_configure
        configured.connect(set_timeouts)

    def __reduce_keys__(self) -> dict[str, Any]:
        return {**super().__reduce_keys__(), "longest_wait": self.longest_wait, "place": self.place}

    def _connection(self, url: Any, *arguments: Any, **named: Any) -> Any:
        if self.longest_wait is not None:
            check_brokers(url, self.place)
        return super()._connection(url, *arguments, **named)

    def send_task(self, *arguments: Any, **named: Any) -> Any:
        """Send a task, within the deadline."""
        return within(self, self.longest_wait, super().send_task, *arguments, **named)

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Return the context of a producer, waiting for one of the pool's within the deadline."""
        return self._acquired(producer, lambda: self.producer_pool) or super().producer_or_acquire(producer)

    def connection_or_acquire(self, connection: Any = None, pool: bool = True, *_: Any, **__: Any) -> Any:
        """Return the context of a connection, waiting for one of the pool's within the deadline."""
        return self._acquired(connection, lambda: self.pool) or super().connection_or_acquire(connection, pool)

    default_connection, default_producer = connection_or_acquire, producer_or_acquire

    def _acquired(self, given: Any, pool: Any) -> Any:
        seconds = None if self.longest_wait is None else brokers.left()
        return None if seconds is None else FallbackContext(given, pool().acquire, block=True, timeout=seconds)

    def _task_from_fun(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fun: Any, name: Any = None, base: Any = None, bind: bool = False, **options: Any
    ) -> Any:
        # a lazy class cannot be a base class
        return super()._task_from_fun(fun, name=name, base=resolve(base), bind=bind, **options)

    def _get_backend(self) -> Any:
        if self.longest_wait is not None:
            check_backend(self.conf.result_backend, self.place)
        backend = super()._get_backend()
        parameters = None if self.longest_wait is None else getattr(backend, "connparams", None)
        if parameters is not None and hasattr(backend, "ConnectionPool") and _is_plain(backend):
            import redis

            parameters["connection_class"] = brokers.limited(parameters.get("connection_class", redis.Connection))
            for name in _BACKEND_METHODS:
                setattr(backend, name, partial(within, self, self.longest_wait, getattr(backend, name)))
        if hasattr(backend, "result_consumer"):
            backend.wait_for_pending = partial(_got, backend.wait_for_pending)
            consumer: Any = backend.result_consumer
            consumer.drain_events = partial(_drained, consumer.drain_events)
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
            least: Any = wait if app.longest_wait is None else brokers.least(wait)
            return super(DeadlinedControl, self).broadcast(*arguments, timeout=least, **named)

        return within(app, None if app.longest_wait is None else app.longest_wait + wait, broadcast)

    def purge(self, *arguments: Any, **named: Any) -> Any:
        """Discard all waiting tasks, within the deadline."""
        app: Any = self.app
        return within(app, app.longest_wait, super().purge, *arguments, **named)

    discard_all = purge


# Short waits, so that the deadline is kept; as many as fill the seconds of Celery's own policies.
_PAUSES = {"interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}


def set_timeouts(sender: Any, source: Any = None, **_: Any) -> None:
    """Set the timeouts that an application's configuration leaves out."""
    app = sender
    if not app.configured or app.longest_wait is None:
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
