"""What finds out which Python an interpreter is, and which modules there are to audit.

Invariants: runs alone, once the interpreter has started. No module of the target is imported: parents are found, not
run, by the interpreter's own finders, so that editable installs and zip files are seen as an import would see them.
What is wrong with a target comes back as a sentence; nothing is raised.
"""

import difflib
import fnmatch
import inspect  # noqa: F401 - pkgutil imports it late
import json
import os
import pkgutil
import platform
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

# The package of tests that most programs have; `test` is often one of an API.
TESTS = "tests"


def find(name: str, locations: "list[str] | None") -> "ModuleSpec | None":
    """Return what the interpreter's finders say of the name, without importing its parents."""
    parent = name.rpartition(".")[0]
    if locations is not None and parent not in sys.modules:
        # Directories without __init__.py ask sys.modules for their parent: an empty module stands for it.
        empty: Any = type(sys)(parent)
        empty.__path__ = locations
        sys.modules[parent] = empty
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, locations, None) if find_spec else None
        if spec is not None:
            return spec
    return None


def is_namespace(spec: "ModuleSpec") -> bool:
    return spec.submodule_search_locations is not None and spec.origin is None


def locations_of(spec: "ModuleSpec") -> "list[str]":
    """Return the directories of a package."""
    return list(spec.submodule_search_locations or ())


def leads_up(directory: str) -> bool:
    """Return whether the directory is a link to one above it: what is below has no end."""
    above = os.path.realpath(os.path.dirname(directory)) + os.sep
    return above.startswith(os.path.realpath(directory) + os.sep)


def walk(name: str, spec: "ModuleSpec") -> "list[str]":
    """Return the names of a package and of everything below it, `__main__` modules left out."""
    locations = locations_of(spec)
    namespace = is_namespace(spec)
    found = [] if namespace else [name]  # a namespace package has no code of its own to run
    for entry in sorted(pkgutil.iter_modules(locations), key=lambda entry: entry.name):
        below = f"{name}.{entry.name}"
        child = find(below, locations) if entry.ispkg else None
        if child is None or not any(map(leads_up, locations_of(child))):
            found += [below] if child is None else walk(below, child)
    for location in filter(os.path.isdir, locations):
        for entry_name in sorted(os.listdir(location)):
            directory = os.path.join(location, entry_name)
            if not entry_name.isidentifier() or entry_name == "__pycache__" or not os.path.isdir(directory):
                continue
            child = find(f"{name}.{entry_name}", locations)
            if child is not None and is_namespace(child) and not os.path.islink(directory):
                found += walk(f"{name}.{entry_name}", child)
    return found


def fits(name: str, pattern: str) -> bool:
    """Return whether a pattern fits a module, or a package above it."""
    parts = name.split(".")
    return any(fnmatch.fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def is_left_out(name: str, target: str, patterns: "list[str]") -> bool:
    """Return whether a module is not audited: it, or a package above it, fits a pattern or is of the usual tests."""
    if any(fits(name, pattern) for pattern in patterns):
        return True
    parts = name.split(".")
    last = parts[-1]
    below = parts[target.count(".") + 1 :]  # what was asked for by name is no test to be left out
    return bool(below) and (last in ("__main__", "conftest") or last.startswith("test_") or TESTS in below)


def missing(name: str, parent: str, locations: "list[str] | None") -> str:
    """Return a sentence on a name that is not found, with the directory that has it, or a similar name."""
    directory = "" if parent else elsewhere(name)
    if directory:
        return f"there is no module {name} in {sys.path[0]}, but one in {directory}: give --path {directory}"
    there = [entry.name for entry in pkgutil.iter_modules(locations)]
    prefix = parent + "." if parent else ""
    close = difflib.get_close_matches(name[len(prefix) :], there, 1)
    hint = f"; did you mean {prefix}{close[0]}?" if close else ""
    where = f"in the package {parent}" if parent else f"in {sys.path[0]} or on the path of {sys.executable}"
    return f"there is no module {name} {where}{hint}"


def elsewhere(name: str) -> str:
    """Return the directory below the path, or above it, that has the package or module; "" where none has."""
    path = sys.path[0]
    try:
        below = sorted(os.listdir(path))
    except OSError:
        below = []
    near = [os.path.join(path, each) for each in below if not each.startswith(".")]
    for directory in [*near, os.path.dirname(os.path.abspath(path))]:
        if any(os.path.isfile(os.path.join(directory, file)) for file in (f"{name}/__init__.py", f"{name}.py")):
            return os.path.relpath(directory)
    return ""


def of_path(target: str) -> str:
    """Return a sentence on a target that is a path: what to write in its place."""
    path = next((each for each in (target, os.path.join(sys.path[0], target)) if os.path.exists(each)), None)
    if path is None:
        return f"{target} is a path, and there is no such file; give the name of a module, such as package.module"
    directory, last = os.path.split(os.path.abspath(path))
    parts = [last.removesuffix(".py")]
    while os.path.isfile(os.path.join(directory, "__init__.py")):
        directory, last = os.path.split(directory)
        parts.insert(0, last)
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    more = "" if os.path.samefile(directory, sys.path[0]) else f" with --path {os.path.relpath(directory)}"
    return f"{target} is a path; give the module's name: {name}{more}"


def resolve(target: str) -> "tuple[ModuleSpec | None, str]":
    """Return the spec of a dotted name, or None and a sentence that says what is wrong."""
    locations: list[str] | None = None
    spec: ModuleSpec | None = None
    name = ""
    if os.sep in target or target.endswith(".py"):
        return None, of_path(target)
    if not all(part.isidentifier() for part in target.split(".")):
        return None, f"{target!r} is not the name of a module, such as package.module"
    for part in target.split("."):
        parent, name = name, f"{name}.{part}" if name else part
        if spec is not None and spec.submodule_search_locations is None:
            return None, f"there is no module {target}: {parent} is a module, not a package"
        locations = None if spec is None else locations_of(spec)
        spec = find(name, locations)
        if spec is None:
            return None, missing(name, parent, locations)
    return spec, ""


def roots_of(top: str) -> "list[str]":
    """Return the directories (with a slash at their ends) or the file that a top-level name stands for."""
    spec = find(top, None)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        paths = [os.path.abspath(each) for each in locations_of(spec)]
        return sorted({each.rstrip("/") + "/" for path in paths for each in (path, os.path.realpath(path))})
    if spec.origin and spec.has_location:
        return sorted({os.path.abspath(spec.origin), os.path.realpath(spec.origin)})
    return []


def answer(paths: "list[str]", down: bool, patterns: "list[str]", targets: "list[str]") -> "dict[str, Any]":
    modules: dict[str, None] = {}
    passed_over: dict[str, None] = {}
    idle = dict.fromkeys(patterns)
    problems: list[str] = []
    roots: dict[str, list[str]] = {}
    for target in targets:
        spec, problem = resolve(target)
        if spec is None:
            problems.append(problem)
            continue
        top = target.partition(".")[0]
        roots[top] = roots_of(top)
        package = spec.submodule_search_locations is not None and (down or is_namespace(spec))
        names = walk(target, spec) if package else [target]
        if not names:
            places = ", ".join(locations_of(spec))
            problems.append(
                f"{target} is a directory without __init__.py and with no module in it ({places}); add an "
                f"__init__.py, or name the directory above as --path"
            )
        left = [each for each in names if is_left_out(each, target, patterns)]
        passed_over.update(dict.fromkeys(left))
        for pattern in [each for each in idle if any(fits(name, each) for name in left)]:
            del idle[pattern]
        modules.update(dict.fromkeys(each for each in names if each not in left))
    if not modules and not problems:
        problems.append(f"all {len(passed_over)} modules are left out; give fewer patterns to exclude")
    library = os.path.realpath(os.path.dirname(os.__file__)) + os.sep
    for each in paths:
        whole = os.path.realpath(each).rstrip(os.sep) + os.sep
        if not library.startswith(whole) and "/site-packages/" not in whole and "/dist-packages/" not in whole:
            roots[each] = sorted({each.rstrip(os.sep) + os.sep, whole})
    return {
        "version": list(sys.version_info[:3]),
        "python": platform.python_version(),
        "sys_path": [os.path.abspath(each) for each in sys.path],
        "modules": list(modules),
        "idle": list(idle),
        "passed_over": [each for each in passed_over if each not in modules],
        "roots": roots,
        "problems": problems,
    }


def main(argv: "list[str]", start_up: "list[Any]") -> None:
    """Write the answer to a file, with what the start took; the arguments are FILE PATHS 0|1 PATTERNS TARGET...

    1 walks packages.
    """
    out, path, down, patterns, *targets = argv
    found = answer(path.split(os.pathsep), down == "1", list(filter(None, patterns.split(","))), targets)
    found["start_up"] = start_up
    with open(out, "w", encoding="ascii") as file:
        json.dump(found, file)
