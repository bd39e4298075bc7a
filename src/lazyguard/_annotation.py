"""What is known of an object that is not there yet: what its factory's return annotation says, and what it says itself.

Invariants: an annotation is looked up, never evaluated, and nothing is imported or built for it; a class that is not
loaded, or that does not tell what its objects answer (Any, a protocol), says nothing.
"""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.cell import Cell

# By these names pytest, unittest, doctest, mock, inspect and abc look at what a module or a class holds. A pending
# object says that it lacks them.
INTROSPECTION = frozenset(
    "__wrapped__ __signature__ __text_signature__ __test__ __isabstractmethod__ __partialmethod__ __objclass__ "
    "__unittest_skip__ __unittest_skip_why__ __unittest_expecting_failure__ __sphinx_mock__ __pytest_wrapped__ "
    "_pytestfixturefunction _fixture_function_marker pytestmark _is_coroutine _is_coroutine_mark _is_coroutine_marker "
    "_partialmethod _mock_self _mock_methods _spec_class __celery_no_autodetect__".split()
)

# These find an attribute as every object does.
_PLAIN_LOOK_UPS = frozenset(
    kind.__getattribute__ for kind in (object, list, dict, tuple, set, frozenset, str, bytes, bytearray, int, float)
)
_ABOUT_CLASS = frozenset(("__doc__", "__module__"))
UNKNOWN = object()


def class_answer(kind: type, name: str) -> Any:
    """Return what a pending `kind` has by a name with underscores around it; UNKNOWN where only the target can tell.

    Raises:
        AttributeError: Its class has nothing by that name.
    """
    if name == "__class__":
        return kind
    if name in _ABOUT_CLASS:
        said = getattr(kind, name)
        return said if said is None or isinstance(said, str) else UNKNOWN  # else it is each instance's own
    look_up: Any = kind.__getattribute__
    if look_up not in _PLAIN_LOOK_UPS or any(
        name in base.__dict__ or "__getattr__" in base.__dict__ for base in kind.__mro__
    ):
        return UNKNOWN
    raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")


def declared_class(cell: Cell) -> type | None:
    """Return the class that the factory's return annotation names, if it tells what the object will answer."""
    said = annotated_class(cell.factory)
    # a protocol or a metaclass does not
    return None if said is None or issubclass(said, type) or getattr(said, "_is_protocol", False) else said


def annotated_class(function: Any) -> type | None:
    """Return the class that a function's return annotation names, if it is loaded already. Evaluates no string."""
    from lazyguard._proxy import Proxy

    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    namespace: dict[str, Any] = getattr(function, "__globals__", {})
    if sys.version_info >= (3, 14):
        annotate: Any = getattr(function, "__annotate__", None)
        names = getattr(getattr(annotate, "__code__", None), "co_names", ())
        if any(type(namespace.get(name)).__name__ == "lazy_import" for name in names):
            return None  # to read the annotation would import what it names
    try:
        said: Any = function.__annotations__.get("return")
    except Exception:
        return None  # it names what only a checker sees
    if isinstance(said, str):
        head, *rest = said.partition("[")[0].strip().split(".")
        said = namespace[head] if head in namespace else vars(builtins).get(head)
        for name in rest:
            said = vars(said).get(name) if type(said) is type(sys) else None
    elif not issubclass(type(said), (type, Proxy)):
        said = getattr(said, "__origin__", None)  # list[int], Annotated[Client, ...]
    if not issubclass(type(said), type):  # by type(): on 3.10 list[int] says that it is a class
        return None
    return None if said is object or said.__module__ in ("typing", "typing_extensions") else said
