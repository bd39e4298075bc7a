"""All errors and warnings; each message says what failed, where it was declared and how to mend it.

Invariants: every error of lazyguard's own is a `LazyguardError`. The cause is chained and unchanged. Where Python has a
type for the failure (ImportError, TimeoutError, ValueError, TypeError), ours is a subclass of that as well.
"""

from __future__ import annotations


class LazyguardError(Exception):
    """The base class of all errors that lazyguard raises of its own."""


class ConfigurationError(LazyguardError, ValueError):
    """An option or a declaration is invalid; raised where it is written."""


class UsageError(LazyguardError, TypeError):
    """A call has an argument that it cannot work on, or comes at the wrong time; the message says what is right."""


class ResolutionError(LazyguardError, RuntimeError):
    """A factory failed; its exception is the `__cause__`."""


class ResolutionImportError(ResolutionError, ImportError):
    """A factory failed because a module is missing or broken; it is an ImportError."""


class ReturnedNone(ResolutionError):
    """A factory returned None in place of an object."""


class ThreadUnavailable(ResolutionError):
    """No thread could be started to run a factory: the machine, or the container, has no more to give."""


class ResolutionTimeout(ResolutionError, TimeoutError):
    """The caller's wait ended before the factory did; the attempt goes on, and is adopted if it succeeds."""


class DeadlineExceeded(LazyguardError, TimeoutError):
    """A `deadline`, or the `timeout` of a guarded function, has passed."""


class ResolutionDeadlineExceeded(DeadlineExceeded, ResolutionTimeout):
    """The caller's own deadline passed before the factory ended; the attempt goes on, and may be adopted."""


class CircularResolutionError(ResolutionError):
    """A wait cycle: each of its cells waits for the next; the message shows the whole cycle with its places."""


class ServiceUnavailable(ResolutionError):
    """A service has neither its real object nor a fallback that can be served here."""


class ServiceBeingBuilt(ServiceUnavailable, CircularResolutionError):
    """An async service is being built on this event loop, which its use would hold up: await it, or use it later."""


class CircuitOpen(LazyguardError, RuntimeError):
    """A call was not made, since its breaker is open; the failure that opened the breaker is the `__cause__`.

    Attributes:
        retry_after: Seconds until the breaker lets a call through again.
    """

    retry_after: float = 0.0
    _of: int = 0  # the id of the breaker's state


class ServiceCircuitOpen(ServiceUnavailable, CircuitOpen):
    """The breaker of a service is open, and the service has no fallback; its object is not built again yet."""


class ConformityError(LazyguardError, AssertionError):
    """A fallback lacks a member of the real object, or has a different one; `assert_conforms` raises it."""


class ConformityWarning(UserWarning):
    """A fallback lacks a member of the real object, or seems to have a different one."""


class MissingModuleError(LazyguardError, ModuleNotFoundError):
    """A module is not installed; the message has the command that installs it."""


class DuplicateImportError(LazyguardError, ImportError):
    """A file that was executed under another name was about to be executed a second time."""


class DuplicateImportWarning(UserWarning):
    """A file that was executed under another name is executed a second time.

    It is not an ImportWarning, since Python ignores those by default.
    """


class ImportBudgetWarning(UserWarning):
    """An import took longer than its budget, or than the limit of an `import_guard` that could not interrupt it."""


class ImportTimeout(LazyguardError, TimeoutError):
    """The block of an `import_guard` did not end in time, and was interrupted.

    Attributes:
        place: The innermost line of the program that the block was at, `file:line`.
        chain: The lines that led there, from the guard on.
    """

    place: str = ""
    chain: tuple[str, ...] = ()


class ImportSideEffectError(LazyguardError, RuntimeError):
    """A connection, a look-up of a name or the start of a process that an `import_guard` forbids."""


class ImportSideEffectWarning(UserWarning):
    """A connection, a look-up of a name or the start of a process that an `import_guard` warns of."""


class ProxyLimitWarning(UserWarning):
    """A proxy's target is a string, a tuple or an exception class, which a proxy cannot replace everywhere in CPython.

    The warning points at the declaration, and says what to write instead.
    """
