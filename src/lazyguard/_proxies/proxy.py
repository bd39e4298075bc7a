"""The proxy: one slot that leads to its cell, and a class that says what the cell holds at present.

Invariants: a proxy is an instance of `Proxy` for ever, but its `__class__` changes with its cell: a pending class,
whose every operation builds the target first, or a view of the target (see `_view`); looking (repr, the listed names
of introspection, and where the factory's annotation names a loaded class also `__class__`, `__doc__`, `dir`) builds
nothing.
"""

import builtins
import sys
from _collections_abc import Mapping, Sequence
from _weakref import ref

from lazyguard._core import loaded
from lazyguard._proxies import special_methods as specials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, TypeAlias
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot

    # The module that declares it, its qualified name there (of a service; "": whatever name it has), and its key.
    Home: TypeAlias = "tuple[Any, ...]"
    # How a target is shown: returns the class that its proxy is to have.
    Flavour: TypeAlias = "Callable[[Cell, Snapshot], type[Proxy]]"


class Proxy:
    """What every lazy object and live reference is an instance of."""

    __slots__ = ("__weakref__", "_cell")
    _cell: "Cell"

    # These are for `Likeness`: what is asked of an instance never comes here.
    _prefix = ""

    def _fetch(self) -> "Any":
        return cell_of(self).resolve()

    @staticmethod
    def _run(name: str, proxy: "Any", target: "Any", arguments: "tuple[Any, ...]", named: "dict[str, Any]") -> "Any":
        return loaded("_proxies.views").by_class(name, proxy, target, arguments, named)


_CELL = Proxy.__dict__["_cell"]
cell_of: "Callable[[Any], Cell]" = _CELL.__get__
set_cell: "Callable[[Proxy, Cell], None]" = _CELL.__set__
# object's own: the classes below answer for `__class__` themselves
set_class: "Callable[[object, type], None]" = object.__dict__["__class__"].__set__


def find_cell(obj: object) -> "Cell | None":
    """Return the cell of a lazy object, a live reference or a service; None for anything else."""
    if issubclass(type(obj), Proxy):
        return cell_of(obj)
    finder: Callable[[Any], Cell] | None = getattr(type(obj), "__lazyguard_cell__", None)
    return None if finder is None else finder(obj)


def declared_class(cell: "Cell") -> "type | None":
    """Return the class that the factory's return annotation names, if it tells what the object will answer."""
    said = annotated_class(cell.factory)
    # a protocol or a metaclass does not
    return None if said is None or issubclass(said, type) or getattr(said, "_is_protocol", False) else said


def annotated_class(function: "Any") -> "type | None":
    """Return the class that a function's return annotation names, if it is loaded already. Evaluates no string."""
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
    except Exception as error:  # it names what only a checker sees
        if loaded("_base.interpreter").is_a_handlers(error):
            raise
        return None
    if isinstance(said, str):
        head, *rest = said.partition("[")[0].strip().split(".")
        said = namespace[head] if head in namespace else vars(builtins).get(head)
        for name in rest:
            said = vars(said).get(name) if type(said) is type(sys) else None
    elif not issubclass(type(said), (type, Proxy)):
        said = getattr(said, "__origin__", None)  # list[int], Annotated[Client, ...]
    if not issubclass(type(said), type):  # by type(): on 3.10 list[int] says that it is a class
        return None
    # an interface of the standard library says what an object has, and not what it lacks
    return None if said is object or said.__module__ in _OF_INTERFACES else said


_OF_INTERFACES = frozenset(("typing", "typing_extensions", "collections.abc", "numbers"))
# What knows the tools that look is loaded at the first look.
INSPECTION = "_proxies.inspection"


class Pending(Proxy):
    """A proxy whose cell has no target: whatever is done to it builds the target and is then done to that."""

    __slots__ = ()
    _prefix = "lazy "

    def __getattribute__(self: "Proxy", name: str) -> "Any":
        cell = cell_of(self)
        inspection = loaded(INSPECTION, cell)
        if name in inspection.INTROSPECTION:
            raise AttributeError(f"{cell.name} is pending, so it has no {name!r}")
        if name == "__reduce_ex__":
            return loaded("_proxies.views", cell).reduce.__get__(self)  # a method: it looks at who calls it
        kind, said = declared_class(cell), inspection.UNKNOWN
        if kind is not None and name[:2] == "__" == name[-2:]:
            said = inspection.class_answer(kind, name)
        if said is inspection.UNKNOWN:
            said = inspection.look(self, kind, name, sys._getframe().f_back)
        if said is not inspection.UNKNOWN:
            return said
        if name == "__deepcopy__":
            operations = loaded("_proxies.views", cell)
            return lambda memo: operations.perform(name, self, cell.resolve(), (memo,), {})
        if name in ASKED_OF_ITSELF:
            return answer(cell.resolve(), name, self)
        return getattr(shown(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(cell_of(self).resolve(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(cell_of(self).resolve(), name)

    def __dir__(self) -> "list[str]":
        kind = declared_class(cell_of(self))
        if kind is None and loaded(INSPECTION, cell_of(self)).walks(sys._getframe().f_back):
            return []
        return dir(cell_of(self).resolve() if kind is None else kind)

    def __repr__(self) -> str:
        cell = cell_of(self)
        state = cell.now.state if cell.used else "pending"
        return f"<lazy {cell.name}, {state}, declared at {cell.place}>"


def shown(proxy: "Proxy") -> "Any":
    """Build the target; return what a first use goes to: the proxy, which shows it now, as at every further use.

    Where another thread has not yet let the proxy show it, that is the target itself.
    """
    target = cell_of(proxy).resolve()
    return target if issubclass(type(proxy), Pending) else proxy


# Python takes a class or a function as it is, but asks its proxy for these.
ATOMIC = (type, type(lambda: None), type(len))
_ASKED_BY_PYDOC = frozenset(("__class__", "__origin__", "__doc__"))
ASKED_OF_ITSELF = _ASKED_BY_PYDOC | {"__mro_entries__", "__deepcopy__", "__func__"}


def answer(target: "Any", name: str, proxy: "Proxy") -> "Any":
    """Return the attribute of a proxy of `target`: a class is a base, and no copy is made of it or a function.

    pydoc documents the `__origin__` of what says that it is no class, and itself refuses the proxy of a class.
    """
    if name == "__mro_entries__" and issubclass(type(target), type):
        return lambda _bases: (target,)
    if name == "__deepcopy__" and issubclass(type(target), ATOMIC):
        return lambda _memo: target
    if name == "__func__":
        loaded(INSPECTION).tell_of_sender(proxy, sys._getframe(2))
    by_pydoc = name in _ASKED_BY_PYDOC and "pydoc" in sys.modules and issubclass(type(target), type)
    if by_pydoc and loaded(INSPECTION).documents(sys._getframe(1)):
        return {"__class__": object, "__origin__": target}.get(name)
    return getattr(target, name)


def shape_of(kind: type) -> "type[Proxy]":
    """Return the base that a proxy of a `kind` needs for `match`, which takes it for a sequence or a mapping."""
    if issubclass(kind, str | bytes | bytearray):
        return Proxy
    abstract: Any
    for abstract in (Sequence, Mapping):
        if issubclass(kind, abstract):
            name = f"{abstract.__name__}Proxy"
            if name not in _classes:
                abstract.register(_classes.setdefault(name, type(name, (Proxy,), {"__slots__": ()})))
            return _classes[name]
    return Proxy


# What else the class of one target holds it by. The first says that it is one.
_HOLDING = ("_holds", "_fetch", "_run", "_watch")


# What a tool that walks is told by these, while the target is not there.
_TOLD: "dict[str, Callable[[Proxy], Any]]" = {
    "__bool__": lambda proxy: True,  # logging: a mapping that is not empty
    "__hash__": object.__hash__,  # pydoc keeps all values of a class in a dict
    "__get__": lambda proxy: proxy,
    "__eq__": lambda proxy: NotImplemented,  # it is what it is: inspect.signature compares, for Sphinx
    "__ne__": lambda proxy: NotImplemented,
}


def _of_block(name: str) -> "Any":
    """Return what enters or leaves a block of what is pending: it builds when Python looks it up, before it enters.

    So both are found on the class that shows the target, and the block ends on that one whatever happens meanwhile.
    (Up to 3.13 what enters is looked up first, since 3.14 what leaves.)
    """

    def look_up(proxy: "Proxy") -> "Any":
        return loaded("_proxies.views", cell_of(proxy)).special(shown(proxy), name)

    return property(look_up)


def _building(name: str) -> "Any":
    """Return the special method of pending classes: build, then let the target do it."""
    made = _made.get(name)
    return _made.setdefault(name, _made_for(name)) if made is None else made


def _made_for(name: str) -> "Any":
    if name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
        return _of_block(name)

    def method(self: "Proxy", /, *arguments: "Any", **named: "Any") -> "Any":
        target = shown(self)
        return loaded("_proxies.views", cell_of(self)).perform(name, self, target, arguments, named)

    method.__name__ = name
    told = _TOLD.get(name)
    if told is None:
        return method

    def looked_at(self: "Proxy", *arguments: "Any") -> "Any":
        walks = loaded(INSPECTION, cell_of(self)).walks
        return told(self) if walks(sys._getframe().f_back) else method(self, *arguments)

    return looked_at


# The special methods and the classes that were needed so far: each is made once, at its first need.
_made: "dict[str, Any]" = {}
_classes: "dict[str, type[Proxy]]" = {}
_pending_for: "dict[ref[type], type[Proxy]]" = {}


def pending_class(kind: "type | None") -> "type[Proxy]":
    """Return the class of a pending proxy whose factory says that it returns a `kind` (None: it does not say)."""
    if kind is None:
        return pending_without("lazy object")
    key = ref(kind, _pending_for.pop)
    known = _pending_for.get(key)
    if known is None:
        answered, refused = specials.answers_of(kind)
        namespace = {name: _building(name) for name in answered} | dict.fromkeys(refused)
        if "__call__" in answered:
            namespace["__call__"] = specials.signed(_made_for("__call__"), kind)
        shape = shape_of(kind)
        bases = (Pending,) if shape is Proxy else (Pending, shape)
        known = specials.new_class(
            specials.name_of(kind), bases, {"__slots__": (), **specials.names_of(kind), **namespace}
        )
        known = _pending_for.setdefault(key, known)
    return known


class ProxyMirror(ref[Proxy]):
    """Shows a cell through its proxy, to which it is a weak reference, so that a dropped lazy object is gone.

    Attributes:
        flavour: How the target is shown.
        pending: The class of the proxy while there is none.
        home: Where a pickle finds the proxy again; None: nowhere.
        tells: Whether to warn where the target is such that CPython takes no proxy for it.
    """

    __slots__ = ("flavour", "home", "pending")
    flavour: "Flavour"
    pending: "type[Proxy]"
    home: "Home | None"
    tells = True

    def hush(self) -> None:
        """Tell nothing of what a proxy cannot do: who asks for the object itself knows."""
        set_class(self, _hushed())  # not a slot, which all others would pay for

    def is_shown_by(self, thing: object) -> bool:
        """Return whether that is the proxy itself."""
        return thing is self()

    def load(self, cell: "Cell") -> object:
        """Have the views at hand."""
        if cell.fallbacks:
            loaded("_services.degraded_view", cell)
        return loaded("_proxies.views", cell)

    def prepare(self, cell: "Cell", snapshot: "Snapshot") -> "tuple[Proxy, type[Proxy]] | None":
        """Make the class that the proxy is to have, outside the lock of the cells."""
        proxy = self()
        if proxy is None:
            return None
        if snapshot.served:
            target = snapshot.target
            if self.tells and sys.meta_path and issubclass(type(target), str | tuple | type) and not snapshot.overrides:
                loaded("_proxies.limits", cell).tell_of(target, cell.name, cell.place)
            view = self.flavour(cell, snapshot)
            if self.flavour is shared:
                watch(proxy, view)
            return proxy, view
        return proxy, self.pending  # also where it seems to show that: another thread may be about to show more

    def publish(self, view: "tuple[Proxy, type[Proxy]]") -> "type[Proxy]":
        """Give the proxy its class, under that lock, and so do no more than assign; return the one before."""
        proxy, kind = view
        loops = cell_of(proxy).loops
        if loops is not None and loops.mirror is self:
            proxy = loops.first  # the live reference shows what each loop has
        before = type(proxy)
        set_class(proxy, kind)
        return before

    def drop(self, view: "type[Proxy]") -> None:
        """Let the class that is no longer shown go of its target, rather than wait for a full collection."""
        let_go(view)


def _hushed() -> "type[ProxyMirror]":
    """Return the class of mirrors that tell nothing; few programs need one."""
    made = _made.get("Hushed") or type("Hushed", (ProxyMirror,), {"__slots__": (), "tells": False})
    hushed: type[ProxyMirror] = _made.setdefault("Hushed", made)
    return hushed


def watch(proxy: "Proxy", view: "type[Proxy]") -> None:
    """Let the class of one target go of it when the proxy goes: a class is a cycle, and would keep it for a while."""

    def gone(_: object, system: "Any" = sys) -> None:
        if system.meta_path:  # else the interpreter is ending, which takes the names of modules away; all goes anyway
            let_go(view)

    if _HOLDING[0] in specials.space_of(view):
        type.__setattr__(view, "_watch", ref(proxy, gone))


def let_go(view: "type[Proxy]") -> None:
    """Take from a class that is for one target what holds that."""
    if _HOLDING[0] in specials.space_of(view):
        space = specials.space_of(view)
        for name in [name for name in space if name in specials.OF_CLASS or name in _HOLDING]:
            type.__delattr__(view, name)


def pending_without(named: str, *names: str, **more: "Any") -> "type[Proxy]":
    """Return the class of that name: of pending proxies whose class is not known, without some special methods."""
    if named in _classes:
        return _classes[named]
    building = {name: _building(name) for name in specials.SPECIAL - specials.OF_DESCRIPTORS if name not in names}
    made: type[Proxy] = specials.new_class(
        named + specials.RESOLVE,
        (Pending,),
        {"__slots__": (), "_kind": lambda: None, "_prefix": "", **building, **more},
    )
    return _classes.setdefault(named, made)


def make(
    cell: "Cell",
    flavour: "Flavour",
    getattribute: "Callable[[Proxy, str], Any] | None" = None,
    pending: "type[Proxy] | None" = None,
    *,
    home: "Home | None" = None,
    tells: bool = True,
) -> "Any":
    """Return a pending proxy for a cell, and let the cell show itself through it.

    Args:
        cell: The cell.
        flavour: How its target is shown.
        getattribute: What answers for attributes while it is pending; `Pending.__getattribute__` if left out.
        pending: Its class while it is pending; what the factory's annotation says if left out.
        home: Where a pickle finds it again; None: nowhere.
        tells: Whether to warn where the target is such that CPython takes no proxy for it.
    """
    pending = pending or pending_class(declared_class(cell))
    if getattribute is not None:
        pending = type(pending.__name__, (pending,), {"__slots__": (), "__getattribute__": getattribute})
    proxy: Proxy = object.__new__(pending)
    set_cell(proxy, cell)
    mirror = (ProxyMirror if tells else _hushed())(proxy)
    mirror.flavour, mirror.pending, mirror.home = flavour, pending, home
    cell.mirror = mirror
    return proxy


def bound(cell: "Cell", snapshot: "Snapshot") -> "Any":
    """Show a target through a class of its own: for services and for what is declared at module level."""
    return loaded("_proxies.views", cell).bound(cell, snapshot)


def shared(cell: "Cell", snapshot: "Snapshot") -> "Any":
    """Show a target through the class of all targets of its type: for what is declared in functions."""
    return loaded("_proxies.views", cell).shared(cell, snapshot)
