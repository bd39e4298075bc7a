"""What everything else stands on: places, signatures, checks of options, stand-ins for `typing`.

Invariant: `lazyguard.errors` is loaded when there is an error to raise, and not before.
"""

from __future__ import annotations


def misconfigured(text: str) -> Exception:
    """Return a ConfigurationError: an option cannot be right."""
    from lazyguard.errors import ConfigurationError

    return ConfigurationError(text)


def misused(text: str) -> Exception:
    """Return a UsageError: something is used in a way that cannot work."""
    from lazyguard.errors import UsageError

    return UsageError(text)
