"""`lazy_celery`: a lazy Celery application.

Invariants: importing this module and declaring an application imports nothing of Celery. An application becomes
Celery's default when Celery is imported, so that no task is sent to another broker.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import TYPE_CHECKING, final, places
from lazyguard._base import validation as checks
from lazyguard._base.places import shown
from lazyguard._proxies import lazy
from lazyguard.errors import ConfigurationError
from lazyguard.integrations._celery_kinds import check_backend, check_brokers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from celery import Celery

__all__ = ["lazy_celery"]

# The attributes of an application that modules use while they are imported, and that Celery itself defers as well.
RECORDED = (
    "task",
    "register_task",
    "autodiscover_tasks",
    "config_from_object",
    "config_from_envvar",
    "add_periodic_task",
    "on_init",
    "on_configure",
    "on_after_configure",
    "on_after_finalize",
    "on_after_fork",
)


def lazy_celery(
    main: str,
    *,
    configure: Callable[[Celery], object] | None = None,
    timeout: float | None = 2.0,
    default: bool = True,
    **options: Any,
) -> Celery:
    """Return a lazy Celery application, to declare in a module: Celery is imported at the first use.

    Args:
        main: Its name, as Celery's first argument.
        configure: Called with the real application, in its one build, before the recorded calls are replayed.
        timeout: Seconds that sending a task, or a command to workers, may wait for the broker and the result backend;
            also their longest wait for a socket. In a `lazyguard.deadline` the time that is left counts, if that is
            less. A command to workers may also wait its own seconds for their answers. None: as long as Celery waits.
        default: Whether `shared_task` and `celery.current_app` use it; of several the last declared one counts.
        **options: Those of `celery.Celery`: broker, backend, include, task_cls and so on.

    Returns:
        A proxy that is typed Celery. Before it is built, these are recorded: `task` (with and without arguments),
        `register_task`, `autodiscover_tasks`, `config_from_object`, `add_periodic_task` and its signals. `celery -A`
        takes it.

    Raises:
        ConfigurationError: An option is invalid. Or `timeout` cannot hold for the broker: it can for redis, rediss,
            amqp and amqps; nor for the result backend, if that is behind Redis Sentinel. Where the URL stands in the
            configuration, what first connects raises this.
        MissingModuleError: Celery is not installed; at the first use.
        ResolutionError: `configure`, or a recorded call, failed; at the first use. The message has the declaration.

    A broker that does not answer in time raises kombu.exceptions.OperationalError, with the place of this call. In a
    worker only a task's own deadline shortens Celery's retries. Timeouts and retries of the configuration take
    precedence. In a forked child, Celery's own or any other, no connection of the parent is used.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations.celery import lazy_celery
        >>> app = lazy_celery("shop", broker="redis://127.0.0.1:6379/0", timeout=1.0)
        >>> @app.task
        ... def bill(number: int) -> int: ...
        >>> lazyguard.is_resolved(app)
        False
    """
    frame = places.caller()
    checks.seconds("timeout", timeout, optional=True)
    checks.flag("default", default)
    if not isinstance(main, str):
        raise ConfigurationError(f"lazy_celery({shown(main)}) is invalid: give the application's name.")
    checks.function_of("configure", configure, "application")
    if timeout is not None:
        check_brokers(options.get("broker"), places.of_frame(frame))
        check_backend(options.get("backend"), places.of_frame(frame))
    factory = _Factory(main, configure, {"longest_wait": timeout, "place": places.of_frame(frame), **options})
    app: Any = lazy.make(factory, frame, name=f"Celery app {main}", on_fork=renew, record=RECORDED)
    if default:

        @lazyguard.when_imported("celery")
        def make_default(celery: object) -> None:
            from celery._state import set_default_app

            set_default_app(app)

    typed: Celery = app
    return typed


@final
class _Factory:
    """The factory of a lazy application."""

    __slots__ = ("_configure", "_main", "_options")

    def __init__(self, main: str, configure: Callable[[Celery], object] | None, options: dict[str, Any]) -> None:
        self._main, self._configure, self._options = main, configure, options

    def __call__(self) -> Celery:
        lazyguard.require("celery", extra="celery", why="for lazy_celery")
        from lazyguard.integrations import _celery_app

        app: Celery = _celery_app.App(self._main, **self._options)
        if self._configure is not None:
            self._configure(app)
        _celery_app.set_timeouts(app)
        return app


def renew(app: Celery) -> None:
    """Let a forked child connect anew."""
    from lazyguard.integrations import _celery_app

    _celery_app.renew(app)
