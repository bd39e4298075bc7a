"""The family of errors: each message says what failed, where it was declared and how to mend it.

Invariants: every error that lazyguard raises of its own is a `LazyguardError`; the cause is chained and left as it
was; where Python has a type for the trouble (ImportError, TimeoutError, ValueError, TypeError) ours is one of it too.
"""

from __future__ import annotations

__all__ = [
    "CircuitOpen",
    "CircularResolutionError",
    "ConfigurationError",
    "ConformityError",
    "ConformityWarning",
    "DeadlineExceeded",
    "DuplicateImportError",
    "DuplicateImportWarning",
    "ImportActError",
    "ImportActWarning",
    "ImportBudgetWarning",
    "ImportTimeout",
    "LazyguardError",
    "MissingModuleError",
    "ProxyLimitWarning",
    "ResolutionDeadlineExceeded",
    "ResolutionError",
    "ResolutionImportError",
    "ResolutionTimeout",
    "ReturnedNone",
    "ServiceUnavailable",
    "ThreadUnavailable",
    "UsageError",
]


class LazyguardError(Exception):
    """Anything that lazyguard raises of its own."""


class ConfigurationError(LazyguardError, ValueError):
    """An option or a declaration that cannot be right; raised where it is written."""


class UsageError(LazyguardError, TypeError):
    """A call with something that it cannot work on; says what it takes instead."""


class ResolutionError(LazyguardError, RuntimeError):
    """A factory failed; what it raised is the `__cause__`."""


class ResolutionImportError(ResolutionError, ImportError):
    """A factory failed because a module is missing or broken; stays an ImportError."""


class ReturnedNone(ResolutionError):
    """A factory returned None in place of the object that it makes."""


class ThreadUnavailable(ResolutionError):
    """No thread could be started to run a factory: the machine, or the container, has no more to give."""


class ResolutionTimeout(ResolutionError, TimeoutError):
    """The caller's wait ended before the factory did; the attempt goes on and is adopted if it ends well."""


class DeadlineExceeded(LazyguardError, TimeoutError):
    """The time of a `deadline` block, or of a guarded function's `timeout`, is over."""


class ResolutionDeadlineExceeded(ResolutionTimeout, DeadlineExceeded):
    """The caller's own deadline passed before the factory was done; the attempt goes on and may be adopted."""


class CircularResolutionError(ResolutionError):
    """A ring of cells, each waiting for the next; the message shows the whole ring with its places."""


class ServiceUnavailable(ResolutionError):
    """A service has neither its real object nor a fallback that may be served here."""


class CircuitOpen(LazyguardError, RuntimeError):
    """A call that was not made, since its breaker is open; the failure that opened it is the `__cause__`.

    Attributes:
        retry_after: Seconds until a call may get through again, at the most as far as is known.
    """

    retry_after: float = 0.0


class ServiceCircuitOpen(ServiceUnavailable, CircuitOpen):
    """Calls on a service's object kept failing, it has no fallback, and its object is not there again yet."""


class ConformityError(LazyguardError, AssertionError):
    """A fallback lacks what the real object has, or has it otherwise; what `assert_conforms` raises."""


class ConformityWarning(UserWarning):
    """A fallback lacks what the real object has, or seems to have it otherwise."""


class MissingModuleError(LazyguardError, ModuleNotFoundError):
    """A module that is not installed; the message has the command that installs it."""


class DuplicateImportError(LazyguardError, ImportError):
    """A file that already runs under another name was about to be executed a second time."""


class DuplicateImportWarning(UserWarning):
    """A file that already runs under another name is executed a second time.

    It is no ImportWarning, since Python ignores those by default.
    """


class ImportBudgetWarning(UserWarning):
    """An import took longer than its budget, or longer than an `import_guard` allows that could not end it."""


class ImportTimeout(LazyguardError, TimeoutError):
    """What an `import_guard` stands around did not end in time, and was ended.

    Attributes:
        place: The innermost line of the program that it was at, `file:line`.
        chain: The lines that led there, from the guard on.
    """

    place: str = ""
    chain: tuple[str, ...] = ()


class ImportActError(LazyguardError, RuntimeError):
    """A connection, a look-up of a name or a process that an `import_guard` forbids."""


class ImportActWarning(UserWarning):
    """A connection, a look-up of a name or a process that an `import_guard` tells of."""


class ProxyLimitWarning(UserWarning):
    """A proxy stands for a text, a tuple or an exception class, which CPython lets nothing stand in for everywhere.

    It points at the declaration. What to write instead is in its text.
    """
