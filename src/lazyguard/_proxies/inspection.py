"""Who asks: tools that walk over what a module holds, and are to leave what is pending pending.

Invariant: it is the innermost caller that counts, those that only pass a question on left aside; whoever uses what such
a tool has found is another caller, and builds.
"""

from __future__ import annotations

from lazyguard._base import Any, FrameType
from lazyguard._proxies import special_methods as specials
from lazyguard._proxies.proxy import cell_of
from lazyguard._proxies.special_methods import told_of

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
_METHOD: Any = type((lambda self: None).__get__(0))


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
    raise AttributeError(f"{told_of(kind)!r} object has no attribute {name!r}")


# They ask for others.
_PASS_ON = frozenset(("inspect", "abc", "dataclasses", "functools", "typing", "asyncio.coroutines", "importlib"))
# Tools that collect, document or print: a pending object whose class nobody knows is to them an object without
# attributes. Of some only these functions are meant.
_WALKERS = frozenset(
    "unittest.loader doctest pydoc _pytest.python _pytest.fixtures _pytest.compat _pytest.doctest _pytest._code.code "
    "_pytest._code.source _pytest.unittest _pytest.mark.structures anyio.pytest_plugin pprint reprlib traceback".split()
)
_OF_LOGGING = frozenset(("__init__", "getMessage"))  # of a record: is its one argument a mapping?
_WALKING_PACKAGES = ("rich", "sphinx", "IPython")
_HELP = frozenset(("resolve", "describe", "render_doc"))  # of pydoc: help() of the object itself
_SCANNERS = frozenset(("flask.cli", "celery.app.utils"))
# They ask a module for its names one by one; what they want to know of each they can ask a proxy of it.
_LISTERS = frozenset(("inspect", "pydoc", "unittest.mock", "_pytest.monkeypatch"))


def walks(frame: FrameType | None) -> bool:
    """Return whether the question that `frame` asks is that of a walking tool."""
    module, function = _where(_asker(frame))
    if module == "logging":
        return function in _OF_LOGGING
    return function not in _HELP if module in _WALKERS else module.partition(".")[0] in _WALKING_PACKAGES


def lists(frame: FrameType | None) -> bool:
    """Return whether it is a tool that takes all attributes of a module, at `frame`."""
    return _where(frame)[0] in _LISTERS or walks(frame)


def asks_a_protocol(frame: FrameType) -> bool:
    """Return whether an abstract class asks, which looks at the class that a proxy really has, too."""
    return _where(frame)[0] == "abc" and _where(frame.f_back) != ("inspect", "isawaitable")


def asks_for_a_function(frame: FrameType) -> bool:
    """Return whether inspect wants to know whether a callable without a code is like a function."""
    return _where(frame) == ("inspect", "_signature_is_functionlike")


def documents(frame: FrameType | None) -> bool:
    """Return whether pydoc is about to document a value, which it does in another way where that is a class."""
    asker = _asker(frame)
    while asker is not None and asker.f_code.co_name in ("_isclass", "_getowndoc", "_getdoc"):
        asker = asker.f_back
    return _where(asker) in (("pydoc", "render_doc"), ("pydoc", "document"))


def is_pydoc(frame: FrameType) -> bool:
    """Return whether pydoc asks, which documents the class that an object really has."""
    return _where(_asker(frame))[0] == "pydoc"


def class_meant(pending: type, frame: FrameType) -> type | None:
    """Return the class of the target that `dataclasses` asks about by its `type`, which builds it.

    All that are pending share that type; so it is the one that the asking function has at hand.
    """
    if _where(frame)[0] == "dataclasses" and not walks(frame):
        for value in frame.f_locals.values():
            if type(value) is pending:
                return type(cell_of(value).resolve())
    return None


def skims(frame: FrameType | None, *, awaited: bool) -> bool:
    """Return whether it is a tool that need not know what a recorded decorator will make.

    Flask and Celery scan for an application, which that is not; `mock.patch` asks whether a function is to be awaited.
    """
    module, function = _where(_asker(frame))
    if module == "unittest.mock":
        return not awaited and function in ("_is_async_obj", "_is_async_func", "_is_instance_mock")
    return module in _SCANNERS or walks(frame)


def look(proxy: Any, kind: type | None, name: str, frame: FrameType | None) -> Any:
    """Return what a tool that walks is told of a pending object; UNKNOWN where it is no such tool that asks.

    Args:
        proxy: The pending object.
        kind: Its class, if that is known.
        name: The attribute that is asked for.
        frame: Where.

    Raises:
        AttributeError: The tool does without.
    """
    asker = _asker(frame)
    tell_of_sender(proxy, asker)
    module, function = _where(asker)
    if module == "unittest.mock":
        # a spec has to be right: what the class does not tell it is told by the object
        as_it_is = name.startswith("__") or function == "_mock_add_spec"  # is it a coroutine function?
        return {} if kind is not None and name == "__dict__" else _member(proxy, kind, name, as_it_is=as_it_is)
    if not walks(asker):
        return UNKNOWN
    if name == "__class__":
        return type(proxy) if kind is None else kind
    said = _member(proxy, kind, name)
    if said is UNKNOWN:
        raise AttributeError(f"it is pending, so it has no {name!r}", name=name, obj=proxy)
    return said


_SIGNALS = frozenset(("django.dispatch.dispatcher", "celery.utils.dispatch.signal"))
_SENDER = (
    "is the sender of a signal. Django and Celery know a sender by its id(), and a proxy has another one: what is "
    "connected for it is not called for the real object. Import it eagerly, or give sender=lazyguard.resolve(...)."
)


def tell_of_sender(proxy: Any, frame: FrameType | None) -> None:
    """Warn where the signals of Django and Celery make a key of a proxy, of which they ask something before."""
    if frame is None or _where(frame)[0] not in _SIGNALS:
        return
    if any(one is not None and one.f_locals.get("sender") is proxy for one in (frame, frame.f_back)):
        from lazyguard._proxies import limits

        cell = cell_of(proxy)
        limits.tell(cell.name, cell.place, _SENDER)


def _member(proxy: Any, kind: type | None, name: str, *, as_it_is: bool = False) -> Any:
    """Return what an instance of the class has by that name, if that is a method or a plain value of the class.

    Args:
        proxy: The instance.
        kind: Its class; None: nobody knows.
        name: The name.
        as_it_is: Whether a descriptor will do as it stands in the class.
    """
    for base in () if kind is None else kind.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            if type(found) is type(_member):
                return found.__get__(proxy)
            return UNKNOWN if hasattr(type(found), "__get__") and not as_it_is else found
    return UNKNOWN


def _asker(frame: FrameType | None) -> FrameType | None:
    while frame is not None:
        module = _where(frame)[0]
        # an example of ours, in a docstring, is not
        ours = module.partition(".")[0] == "lazyguard" and frame.f_code.co_filename[:1] != "<"
        if not ours and module not in _PASS_ON:
            break
        frame = frame.f_back
    return frame


def _where(frame: FrameType | None) -> tuple[str, str]:
    """Return the names of the module and of the function that a frame executes; empty ones where there are none."""
    if frame is None:
        return "", ""
    module = frame.f_globals.get("__name__")
    return module if type(module) is str else "", frame.f_code.co_name


class ByClass(specials.Like):
    """What the class of a proxy shows by the name of a special method: it looks like that of the target's class."""

    def __init__(self, name: str, kind: type | None) -> None:
        super().__init__(lambda: ByClass.__call__ if kind is None else getattr(kind, name, None))
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _METHOD(self, instance)

    def __call__(self, proxy: Any, /, *arguments: Any, **named: Any) -> Any:
        view = type(proxy)
        if type(view) is specials.Likeness:
            return specials.plain(view, "_run")(
                self._name, proxy, specials.plain(view, "_fetch")(proxy), arguments, named
            )
        return getattr(view, self._name)(proxy, *arguments, **named)  # no proxy
