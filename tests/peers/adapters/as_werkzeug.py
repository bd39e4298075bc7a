"""werkzeug's LocalProxy is lazyguard.lazy, of what the local is bound to at the first use."""

from operator import attrgetter

import standing
from werkzeug import local


class LocalProxy(standing.OfFactory):
    """Called with a function, with a Local and a name, with a ContextVar or a LocalStack."""

    def __new__(cls, of, name=None, **_):
        """Return a lazy object."""

        def factory():
            found = of.get() if hasattr(of, "get") else of.top if hasattr(of, "top") else of
            return found() if callable(of) and name is None and found is of else attrgetter(name)(found)

        return standing.lazy(factory)


local.LocalProxy = LocalProxy
