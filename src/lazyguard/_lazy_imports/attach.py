"""`attach` and `attach_stub`: a package's submodules and re-exports, imported at their first use.

Invariants: arguments and results are those of lazy_loader, so that a package can switch over; declaring
imports nothing of what is declared.
"""

import os
import sys

from lazyguard._lazy_imports import REGISTRY
from lazyguard._lazy_imports.package import NATIVE, LazyAttributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

    from lazyguard._base import Any, Callable, FrameType, Iterable, Mapping
    from lazyguard._lazy_imports.package import FileAndLine

    Attached = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]
    Names = dict[str, list[str]]


def attach(
    package_name: str,
    submodules: "Iterable[str] | None" = None,
    submod_attrs: "Mapping[str, Iterable[str]] | None" = None,
    *,
    absolute_attrs: "Mapping[str, Iterable[str]] | None" = None,
) -> "Attached":
    """Declare what a package re-exports; each name is imported at its first use, then an ordinary global.

    Args:
        package_name: The package's `__name__`.
        submodules: Submodules that are attributes of the package.
        submod_attrs: Submodule (relative to the package, without a leading dot) -> names in it; `"app as celery_app"`
            renames.
        absolute_attrs: The same for any other module, by its absolute name: `{"celery": ["shared_task"]}`.

    Returns:
        `(__getattr__, __dir__, __all__)` for the package.

    Raises:
        ConfigurationError: The arguments cannot be right.

    A declared name wins over a submodule of the same name (one declared as both is the submodule, as in lazy_loader).
    With `EAGER_IMPORT=1`, or the package or one above it in `LAZYGUARD_EAGER=core,other`, all is imported at once.

    Errors at first use say where the name was declared and have the original as their cause: what is missing raises
    MissingModuleError or ResolutionImportError, both ImportErrors; everything else that an import raised, an
    AttributeError too, comes as a ResolutionError. So `hasattr` is False for names that nobody declared only. The next
    use tries again. No lock of ours is held while anything is imported; a fork changes nothing.

    From Python 3.15 on the names are native lazy imports (PEP 810), so that functions of the package can use them as
    globals too; what the filter of `sys.set_lazy_imports_filter` refuses is imported at once, and a name of a module
    that is imported already is there at once. Elsewhere the package's `__getattr__` finds them (PEP 562).

    Example:
        >>> import lazyguard
        >>> __getattr__, __dir__, __all__ = lazyguard.attach("json", ["tool"], {"decoder": ["JSONDecoder as Decoder"]})
        >>> __all__
        ['Decoder', 'tool']
        >>> __getattr__("Decoder")
        <class 'json.decoder.JSONDecoder'>
    """
    return _attach(package_name, sys._getframe(1), submodules, submod_attrs, absolute_attrs)


def attach_stub(package_name: str, filename: str) -> "Attached":
    """Declare what the package's stub (`__init__.pyi`) imports; what checkers read is then what happens.

    Args:
        package_name: The package's `__name__`.
        filename: Its `__file__` (the stub lies beside it), or the stub itself.

    `from .queue import QueueService`, `from .tasks import app as celery_app` and `from . import models`
    count, and absolute ones where the stub re-exports them (`from celery import Celery as Celery`, or a name
    in its `__all__`).

    Returns:
        What `attach` does. An error at first use names the line of the stub.

    Raises:
        ConfigurationError: The stub is missing or cannot be read.

    Example:
        >>> import lazyguard
        >>> lazyguard.attach_stub("json", "nowhere/__init__.py")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        lazyguard.errors.ConfigurationError: ...json: there is no stub nowhere/__init__.pyi...
    """

    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    if not all(isinstance(one, str) for one in (package_name, filename)):
        raise _wrong(place, "attach_stub() takes the package's __name__ and its __file__, two strings")
    stub = filename if filename.endswith(".pyi") else f"{os.path.splitext(filename)[0]}.pyi"
    submodules, by_module, places = read(package_name, stub, place)
    return _attach(package_name, frame, submodules, None, by_module, places)


def _attach(
    package: str,
    frame: "FrameType",
    submodules: "Iterable[str] | None",
    relative: "Mapping[str, Iterable[str]] | None",
    absolute: "Mapping[str, Iterable[str]] | None",
    places: "Mapping[str, FileAndLine] | None" = None,
) -> "Attached":
    place = frame.f_code.co_filename, frame.f_lineno
    if not isinstance(package, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _wrong(place, f"attach() takes the package's __name__, not one of type {type(package).__name__}")
    origins: dict[str, tuple[str, str | None]] = {}
    for prefix, option, given in (f"{package}.", "submod_attrs", relative), ("", "absolute_attrs", absolute):
        if given is None:
            continue
        if not hasattr(type(given), "items") or not all(isinstance(key, str) for key in given):
            raise _wrong(place, f"{option}= of type {type(given).__name__}: give a dict, {{'queue': ['QueueService']}}")
        for key, names in given.items():
            for attribute, name in _renames(prefix + key, names, place):
                origin = prefix + key, attribute
                # What a package imports from itself, under the same name, is a submodule of it.
                origins[name] = (f"{package}.{name}", None) if origin == (package, name) else origin
    for attribute, name in _renames(f"{package}, submodules", () if submodules is None else submodules, place):
        origins[name] = (f"{package}.{attribute}", None)
    attributes = LazyAttributes(package, origins, place, places or {})

    def lookup(name: str) -> "Any":
        if name in origins:
            return attributes.resolve(name)
        attributes.settle()
        text = f"module {package!r} has no attribute {name!r}"
        if places and name in places:
            stub = attributes.place_of(name)
            text += f": its stub ({stub}) imports it without a re-export; add it to the stub's __all__"
        raise AttributeError(text, name=name, obj=attributes.module)

    def listing() -> "list[str]":
        return sorted({*attributes.namespace, *origins} - {REGISTRY})

    attributes.resolver = lookup
    # EAGER_IMPORT as lazy_loader 0.6 reads it
    eager = os.environ.get("EAGER_IMPORT", "") not in ("", "0")
    if os.environ.get("LAZYGUARD_EAGER"):
        from lazyguard._core.eager import named

        eager = eager or named(package)
    # Only where the package itself declares: for another one this must not touch its namespace.
    native = NATIVE and not eager and frame.f_globals is attributes.namespace
    if eager or native:
        # What is imported now may be circular: it finds the names as it does when all is lazy.
        attributes.namespace.setdefault("__getattr__", lookup)
    if native:
        attributes.make_native()
    for name in origins if eager else ():
        attributes.resolve(name)
    return lookup, listing, sorted(origins)


def _wrong(place: "FileAndLine", text: str) -> Exception:
    from lazyguard._base.places import Place, misconfigured

    return misconfigured(f"{Place(*place)}: {text}")


def _renames(source: str, names: "Iterable[object]", place: "FileAndLine") -> "Iterable[tuple[str, str]]":
    """Yield (attribute, name in the package) for what a declaration lists."""
    if isinstance(names, str):
        raise _wrong(place, f"{source}: {names!r} is one string; write a list: [{names!r}]")
    try:
        iter(names)
    except TypeError:
        text = f"{source}: one of type {type(names).__name__} in place of names; write a list"
        raise _wrong(place, text) from None
    for entry in names:
        words = [word.strip() for word in entry.split(" as ")] if isinstance(entry, str) else []
        if len(words) not in (1, 2) or not all(map(str.isidentifier, words)):
            raise _wrong(place, f"{source}: {entry!r} is no name; write 'name' or 'name as other_name'")
        yield words[0], words[-1]


def read(package: str, stub: str, place: "FileAndLine") -> "tuple[list[str], Names, dict[str, FileAndLine]]":
    """Return what the stub re-exports: submodules, and names by module; and the places of all."""
    import ast

    try:
        tree = ast.parse(_source_of(package, stub), stub)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _wrong(place, f"{package}: there is no stub {stub}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _wrong(place, f"{package}: the stub {stub} cannot be read") from error
    exported = _exported(tree)
    submodules: list[str] = []
    by_module: Names = {}
    places: dict[str, FileAndLine] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if alias.name == "*":
                raise _wrong((stub, node.lineno), "a star import does not say what to attach; write the names")
            entry = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            places[alias.asname or alias.name] = stub, alias.lineno
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            if node.level == 1 and node.module is None:
                submodules.append(entry)
            # A stub imports from elsewhere for its annotations too: only what it re-exports (PEP 484) counts.
            elif node.level == 1 or alias.asname == alias.name or (alias.asname or alias.name) in exported:
                by_module.setdefault(module, []).append(entry)
    return submodules, by_module, places


def _source_of(package: str, stub: str) -> bytes:
    """Return the stub's source, as Python reads it; in an archive the package's loader has it."""
    loader: Any = getattr(getattr(sys.modules.get(package), "__spec__", None), "loader", None)
    if hasattr(loader, "get_data") and not os.path.exists(stub):
        try:
            source: bytes = loader.get_data(stub)
            return source
        except OSError:
            pass  # no stub there either; what `open` says has the name
    with open(stub, "rb") as file:
        return file.read()


def _exported(tree: "ast.Module") -> "set[str]":
    """Return the names in the stub's `__all__`."""
    import ast

    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, (ast.List, ast.Tuple)) and "__all__" in (getattr(t, "id", "") for t in targets):
            return {item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    return set()
