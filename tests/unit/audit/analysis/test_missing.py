"""How to mend an import error: from its message, what was executed, and what lies beside it."""

from __future__ import annotations

import pytest

from lazyguard.audit.analysis.missing import hint, verdict


def missing(reported, name: str, more: str = "") -> str | None:
    """What is said where the import of core.app misses a module."""
    return hint("ModuleNotFoundError", f"No module named '{name}'{more}", [], reported.tree("core.app"), reported.scope)


def lacking(reported, message: str, *about: object, kind: str = "ImportError") -> str | None:
    """What is said where a module that is there lacks a name."""
    return hint(kind, message, about, reported.tree("core.app"), reported.scope)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_package", "no_such_package is not installed, and no distribution is known here to have it"),
        ("redis.asyncio", "pip install redis"),
        ("yaml", "pip install PyYAML"),
        ("sklearn.base", "pip install scikit-learn"),
        ("distutils.core", "distutils is no longer in the standard library from Python 3.12 on"),
        ("cgi", "cgi is no longer in the standard library from Python 3.13 on"),
        ("sqlite3", "sqlite3 belongs to the standard library; this interpreter is older, or was built without it"),
    ],
)
def test_what_is_not_there_is_reported_with_how_to_get_it(reported, name: str, said: str) -> None:
    """A distribution to install; never one that takes the name of a standard module."""
    assert missing(reported, name) == said


@pytest.mark.parametrize("name", ["core.nosuch", "core", "core.nosuch.deeper"])
def test_what_is_of_the_program_is_never_to_be_installed(reported, name: str) -> None:
    """Its name may be registered by anyone."""
    assert missing(reported, name) == f"there is no {name} in the audited path"
    reported.begin("tools.a", "core/tools.py")
    assert missing(reported, "tools.b") == "there is no tools.b in the audited path"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("view", ": did you mean views?"),
        ("VIEWS", ": did you mean views?"),
        ("modle", ": did you mean model or models?"),
        ("tasks_", ": did you mean tasks?"),
        ("fast", ": did you mean fast_?"),
        ("readme", ""),
        ("quite_other", ""),
        ("git", ""),
    ],
)
def test_a_module_missing_in_a_package_is_reported_with_those_like_it(reported, name: str, said: str) -> None:
    """The package's file, and which modules and packages beside it have a name like that; other files are none."""
    for file in ("__init__.py", "views.py", "model.py", "models/__init__.py", "tasks.pyc", "fast_.cpython-311-x.so"):
        reported.write(f"core/{file}")
    for file in ("README.md", ".git/config", "my-data/x", "__pycache__/views.pyc"):
        reported.write(f"core/{file}")
    reported.begin("core", "core/__init__.py")
    assert missing(reported, f"core.{name}") == f"core (core/__init__.py) has no module {name}{said}"


def test_a_package_whose_directory_is_gone_has_no_names(reported) -> None:
    """No error comes of it."""
    reported.begin("core", "core/__init__.py")
    assert missing(reported, "core.views") == "core (core/__init__.py) has no module views"


def test_a_package_that_is_installed_and_lacks_a_module_has_another_version(reported) -> None:
    """Installing it again would change nothing."""
    reported.begin("redis", "site/redis/__init__.py")
    assert (
        missing(reported, "redis.nosuch")
        == "redis is installed and has no redis.nosuch: another version of it has, or had"
    )
    assert missing(reported, "redi") == "redi is not installed, and no distribution is known here to have it"


def test_what_is_below_a_module_cannot_be_there(reported) -> None:
    """A file that hides a package of the same name is named; so is what is built in, which has none."""
    reported.begin("email", "core/email.py")
    more = "; '{}' is not a package"
    said = "email (core/email.py) is a module and no package, so nothing is below it: does it hide a package?"
    assert missing(reported, "email.message", more.format("email")) == said
    assert (
        missing(reported, "sys.nosuch", more.format("sys")) == "sys is a module and no package, so nothing is below it"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("View", " has no View: did you mean view?"),
        ("viewer", " has no viewer: did you mean view?"),
        ("Other", " has no Other"),
        ("_", " has no _"),
    ],
)
def test_a_name_missing_in_a_module_is_reported_with_those_like_it(reported, name: str, said: str) -> None:
    """One that differs by its case alone goes before all others; the file is named as in the report."""
    names = ["view", "vie", "a"] if name == "View" else ["view", "a"]
    about = ("core.views", reported.file("core/views.py"), names)
    assert (
        lacking(reported, f"cannot import name '{name}' from 'core.views'", *about)
        == f"core.views (core/views.py){said}"
    )
    text = f"module 'core.views' has no attribute '{name}'"
    assert lacking(reported, text, *about, kind="AttributeError") == f"core.views (core/views.py){said}"


def test_a_module_without_a_file_is_named_alone(reported) -> None:
    """Such as a namespace package, or one that is built in."""
    assert lacking(reported, "cannot import name 'x' from 'core'", "core", None, []) == "core has no x"


@pytest.mark.parametrize("kind", ["ImportError", "AttributeError"])
def test_a_name_that_is_bound_later_is_no_missing_one(reported, kind: str) -> None:
    """What is asked of an unfinished module is a circle, whatever names are like it."""
    text = (
        "cannot import name 'VALUE' from partially initialized module 'core.a' (most likely due to a circular import)"
    )
    said = "core.a is not done: this is a circular import, not a name that is missing"
    assert lacking(reported, text, "core.a", None, ["VALUES"], kind=kind) == said


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ImportError", "the port is no number"),
        ("ImportError", "attempted relative import beyond top-level package"),
        ("ModuleNotFoundError", "redis is wanted"),
        ("AttributeError", "'Thing' object has no attribute 'x'"),
        ("KeyError", "'x'"),
        ("core.errors.ModuleNotFoundError", "No module named 'x'"),
        ("ValueError", "partially initialized module 'core.a'"),
        ("ImportError", ""),
    ],
)
def test_of_anything_else_nothing_is_known(reported, kind: str, message: str) -> None:
    """No guess is made from a message that says no more, nor of an object that is no module."""
    assert lacking(reported, message, kind=kind) is None


def test_a_message_without_a_name_says_nothing_of_its_module(reported) -> None:
    """Even where the child has reported which module it was about."""
    assert lacking(reported, "it is too old", "core.views", reported.file("core/views.py"), ["view"]) is None


PYPROJECT = """
[project]
name = "core"
dependencies = ["requests>=2"]
optional-dependencies = {queue = ["Celery>=5"], yaml = ["PyYAML"]}
"""


@pytest.mark.parametrize(
    ("kind", "message", "missed", "said"),
    [
        ("ModuleNotFoundError", "No module named 'celery'", "celery", "not-installed"),
        ("ModuleNotFoundError", "No module named 'yaml.x'", "yaml.x", "not-installed"),
        ("ModuleNotFoundError", "No module named 'requests'", "requests", "fails"),
        ("ModuleNotFoundError", "No module named 'nosuch'", "nosuch", "fails"),
        ("core.DidNotEnable", "nosuch is not installed", "nosuch", "not-installed"),
        ("RuntimeError", "please install the queue", "celery", "not-installed"),
        ("KeyError", "'timeout'", "ujson", "fails"),
        ("ModuleNotFoundError", "No module named 'core.nosuch'", "core.nosuch", "fails"),
        ("ModuleNotFoundError", "No module named 'winreg'", "winreg", "other-platform"),
        ("ImportError", "win32 only", None, "other-platform"),
        ("AttributeError", "module 'ctypes' has no attribute 'windll'", None, "other-platform"),
        ("ValueError", "windows are broken", None, "fails"),
    ],
)
def test_what_is_optional_or_for_another_platform_is_no_fault(
    reported, kind: str, message: str, missed: str | None, said: str
) -> None:
    """A required dependency that is missing is one, and so is a module that nobody declares."""
    reported.write("pyproject.toml", PYPROJECT)
    reported.begin("core.app", "core/app.py")
    assert verdict(kind, message, missed, reported.tree("core.app"), reported.scope) == said


def test_the_command_is_what_the_project_declares(reported) -> None:
    """As its extra where it is one. What lies in the program is no distribution."""
    reported.write("pyproject.toml", PYPROJECT)
    reported.write("core/bookings/__init__.py")
    assert missing(reported, "celery") == "pip install 'core[queue]'"
    assert missing(reported, "requests") == "pip install requests"
    said = missing(reported, "bookings.prices")
    assert said is not None
    assert said.startswith("it is core/bookings here: give --path ")
