"""What stands around an import or a registration; each guard in a module of its own, loaded at first need."""

from __future__ import annotations


def is_module_name(name: object) -> bool:
    """Tell whether this is an absolute module name, as far as one can see from it."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))
