"""A package of modules that hold pending objects, and that re-exports lazily.

>>> 1 + 1
2
"""

import lazyguard

__getattr__, __dir__, __all__ = lazyguard.attach(__name__, ["sub"], {"other": ["Name", "flag as renamed"]})

built = []


def build(name):
    """Keep that a factory has run, and fail: looking must not come here."""
    built.append(name)
    raise AssertionError(f"looking has built {name}")
