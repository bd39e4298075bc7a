"""A lazy Celery application: `lazy_celery`.

Invariants: importing this and declaring an application imports nothing of Celery; an application is Celery's default
one from the moment that Celery is imported, so that no task is sent to another broker.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import places
from lazyguard._base import validation as checks
from lazyguard._base.typing import final
from lazyguard._proxies import lazy
from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from celery import Celery

__all__ = ["lazy_celery"]

# What of an application modules call while they are imported, and Celery itself puts off as well.
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
    timeout: float = 2.0,
    default: bool = True,
    **options: Any,
) -> Celery:
    """Return a lazy Celery application, for a module to declare: Celery is imported at its first use.

    Args:
        main: Its name, as Celery's first argument.
        configure: Called with the real application, in its one build, before what was recorded is replayed.
        timeout: Seconds that sending a task, or asking workers, may wait for the broker and the result backend, and
            their longest wait for a socket. In a `lazyguard.deadline` what is left of that counts in its place. Asking
            workers has the seconds that it waits for their answers besides.
        default: Whether it is what `shared_task` and `celery.current_app` go to; the last one that is declared is.
        **options: Those of `celery.Celery`: broker, backend, include, task_cls and so on.

    Returns:
        A proxy that is typed Celery. `task` (with and without arguments), `register_task`, `autodiscover_tasks`,
        `config_from_object`, `add_periodic_task` and its signals, used before it is built, are recorded. `celery -A`
        takes it.

    Raises:
        ConfigurationError: An option is invalid.
        MissingModuleError: Celery is not installed; at the first use.
        ResolutionError: `configure`, or a call that was recorded, failed; at the first use. It names the declaration.

    A broker that does not answer in time is a kombu.exceptions.OperationalError. In a worker's tasks nothing but a
    deadline of the task's own shortens Celery's retries. What the configuration says of time-outs and retries comes
    first. In a forked child, Celery's own or any other, no connection of the parent is used.

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
    checks.seconds("timeout", timeout)
    checks.flag("default", default)
    if not isinstance(main, str):
        raise ConfigurationError(f"lazy_celery({main!r}) is invalid: give the application's name.")
    checks.function_of("configure", configure, "application")
    factory = _Factory(main, configure, timeout, options)
    app: Any = lazy.make(factory, frame, name=f"Celery app {main}", on_fork=renew, record=RECORDED)
    if default:

        @lazyguard.when_imported("celery")
        def make_default(celery: object) -> None:
            from celery._state import set_default_app

            set_default_app(app)

    made: Celery = app
    return made


@final
class _Factory:
    """What builds a lazy application."""

    __slots__ = ("_configure", "_main", "_options", "_timeout")

    def __init__(
        self, main: str, configure: Callable[[Celery], object] | None, timeout: float, options: dict[str, Any]
    ) -> None:
        self._main, self._configure, self._timeout, self._options = main, configure, timeout, options

    def __call__(self) -> Celery:
        lazyguard.require("celery", extra="celery", why="for lazy_celery")
        from lazyguard.integrations import _celery_app

        app: Celery = _celery_app.App(self._main, longest_wait=self._timeout, **self._options)
        if self._configure is not None:
            self._configure(app)
        _celery_app.bound(app)
        return app


def renew(app: Celery) -> None:
    """Let a forked child connect anew."""
    from lazyguard.integrations import _celery_app

    _celery_app.renew(app)
