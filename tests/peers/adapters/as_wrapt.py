"""wrapt's proxies are lazyguard.lazy, its lazy_import is lazyguard.load."""

import standing
import wrapt

import lazyguard
import lazyguard._services.counted_view  # its base is wrapt's own

wrapt.LazyObjectProxy = standing.OfFactory
for name in ("BaseObjectProxy", "ObjectProxy", "AutoObjectProxy", "CallableObjectProxy"):
    setattr(wrapt, name, standing.OfObject)
wrapt.lazy_import = lambda module, name=None, **_: lazyguard.load(module if name is None else f"{module}:{name}")
