"""How proxies are pickled: as their targets, or by reference, as Python pickles functions and classes.

By reference ("package.module:qualname", looked up again where it is unpickled) go the live references of services, and
what a module holds under a name and has not built yet. Pickling those builds nothing, and what is pending here is
pending there. Anything else is pickled as its target; where that is not there yet it is built.
"""

from __future__ import annotations

import _operator
import sys

from lazyguard._base import TYPE_CHECKING, Any, FrameType
from lazyguard._proxies.proxy import cell_of
from lazyguard.errors import UsageError

if TYPE_CHECKING:
    from lazyguard._proxies.proxy import Proxy


def reduced(proxy: Proxy, frame: FrameType) -> tuple[Any, ...]:
    """Return what the pickler in `frame` is to keep of a proxy, and deepcopy to copy.

    Raises:
        UsageError: It is a service that cannot be found by its name.
    """
    # deepcopy takes the same way as a pickler, and a copy is one of the target
    reference = None if frame.f_globals.get("__name__") == "copy" else _reference(proxy)
    if reference is not None:
        return by_reference, reference
    return _operator.getitem, ((cell_of(proxy).resolve(),), 0)  # of the standard library: unpickles without lazyguard


def _reference(proxy: Proxy) -> tuple[Any, ...] | None:
    """Return the arguments of `by_reference` for a proxy; None for one that is pickled as its target."""
    cell = cell_of(proxy)
    home = getattr(cell.mirror, "home", None)
    if home is None:
        return None
    module, qualname, *arguments = home
    if not qualname:
        name = None if cell.now.served else _name_in(module, proxy)
        return None if name is None else (module, name)
    for name in (qualname, _name_in(module, proxy)):
        try:
            if name is not None and by_reference(module, name, *arguments) is proxy:
                return (module, name, *arguments)
        except (ImportError, UsageError):
            pass
    raise UsageError(
        f"{cell.name}, declared at {cell.place}, cannot be pickled: a service is pickled by reference, and is not "
        f"found as {module}:{qualname}. Declare it at module level."
    )


def _name_in(module: str, proxy: Proxy) -> str | None:
    """Return the name under which the module holds a proxy or its service."""
    space: dict[str, Any] = getattr(sys.modules.get(module), "__dict__", {})
    for name, value in list(space.items()):
        if value is proxy or (_is_service(value) and value._live is proxy):
            return name
    return None


def _is_service(value: object) -> bool:
    return hasattr(type(value), "__lazyguard_cell__")


def by_reference(module: str, qualname: str, named: dict[str, Any] | None = None) -> Any:
    """Return what a module holds by this name, pending or not; for a service, its live reference.

    Args:
        module: Imported, if need be.
        qualname: As that of a function.
        named: What the service is called with.

    Raises:
        UsageError: There is nothing by that name.
    """
    __import__(module)
    first, *rest = qualname.split(".")
    try:
        space = sys.modules[module].__dict__  # to ask the module itself may build
        found = space[first] if first in space else getattr(sys.modules[module], first)
        for name in rest:
            found = getattr(found, name)
    except AttributeError as error:
        raise UsageError(
            f"{module}:{qualname} was pickled by reference and does not exist here: unpickle with the version of "
            f"{module} that it was pickled with."
        ) from error
    return found(**named or {}) if _is_service(found) else found
