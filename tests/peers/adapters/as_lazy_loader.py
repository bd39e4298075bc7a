"""lazy_loader's three functions are lazyguard's; what it has for a missing module is what cannot be resolved."""

import lazy_loader

import lazyguard

lazy_loader.attach, lazy_loader.attach_stub = lazyguard.attach, lazyguard.attach_stub
lazy_loader.load = lazyguard.load


class Missing(type):
    """So that a lazy module is an instance if its module is missing."""

    def __instancecheck__(cls, module):
        """Import it."""
        try:
            lazyguard.resolve(module)
        except ImportError:
            return True
        return False


lazy_loader.DelayedImportErrorModule = Missing("Missing", (), {})
