"""Lazy attributes that a function makes: a proxy inside the module, the object itself from outside."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import pytest

import lazyguard
from lazyguard import is_resolved, override, reset
from lazyguard.errors import ConfigurationError, UsageError

CORE = """
import lazyguard

made = []

class App:
    def __init__(self):
        made.append(self)

    def task(self, function):
        return (self, function)

@lazyguard.lazy_attribute
def app() -> App:
    return App()

@lazyguard.lazy_attribute("queue")
def make_queue() -> list:
    return [app]

inside = app

def use():
    return app.task("x")
"""


@pytest.fixture
def core(program):
    """Import a module with two lazy attributes."""
    program({"core.py": CORE})
    return importlib.import_module("core")


class TestAccess:
    """The attribute from outside and from inside its module."""

    def test_declaring_builds_nothing(self, core):
        """Importing the module and looking at it build nothing."""
        assert core.made == []
        assert {"app", "queue", "make_queue"} <= set(dir(core))
        assert "app" in vars(core)
        assert not is_resolved("core:app")
        assert core.made == []

    def test_outside(self, core):
        """From outside the attribute is the object itself, built at the first access."""
        app = core.app
        assert type(app) is core.App
        assert core.app is app
        assert core.made == [app]
        assert is_resolved("core:app")

    def test_from_import(self, core):
        """`from module import name` gives the object itself, too."""
        from core import app

        assert type(app) is core.App
        assert core.made == [app]

    def test_inside(self, core):
        """Inside, the name is a proxy until the object is built, and an ordinary global afterwards."""
        assert core.inside is vars(core)["app"]
        assert not is_resolved(core.inside)
        app, _ = core.use()
        assert app is core.app
        assert vars(core)["app"] is app
        assert core.inside.task("y") == (app, "y")
        assert len(core.made) == 1

    def test_several(self, core):
        """Attributes are built one by one; one can build another."""
        queue = core.queue
        assert type(queue) is list
        assert not is_resolved("core:app")
        assert core.made == []
        assert core.app is queue[0].task("x")[0]

    def test_nothing_left_to_pay(self, core):
        """When all are built, the module has its former class."""
        assert type(core) is not types.ModuleType
        assert isinstance(core, types.ModuleType)
        core.app
        assert type(core) is not types.ModuleType
        core.queue
        assert type(core) is types.ModuleType

    def test_repr_of_the_module(self, core):
        """The module's `repr` and type show nothing of it."""
        assert repr(core).startswith("<module 'core'")

    def test_while_the_module_runs(self, program):
        """A module in an import cycle finds the object, not the factory."""
        program(
            {
                "first.py": """
                import lazyguard
                @lazyguard.lazy_attribute
                def app() -> list:
                    return [1]
                import second
                """,
                "second.py": "from first import app",
            }
        )
        first = importlib.import_module("first")
        assert sys.modules["second"].app is first.app
        assert type(first.app) is list

    def test_failure(self, program):
        """A factory that fails is not cached, and `hasattr` does not hide it."""
        program(
            {
                "failing.py": """
                import lazyguard
                results = []
                @lazyguard.lazy_attribute
                def app() -> int:
                    return results[0]
                """
            }
        )
        failing = importlib.import_module("failing")
        with pytest.raises(lazyguard.ResolutionError, match="failing:app"):
            hasattr(failing, "app")
        with pytest.raises(lazyguard.ResolutionError):
            from failing import app  # noqa: F401
        failing.results.append(5)
        assert failing.app == 5

    def test_threads(self, core, race):
        """Threads that race share one object, from inside and from outside."""
        seen = race(*[lambda: core.app, lambda: core.use()[0]] * 4)
        assert len(core.made) == 1
        assert seen == core.made * 8

    def test_reload(self, core):
        """Reloading the module declares anew."""
        before = core.app
        importlib.reload(core)
        assert not is_resolved("core:app")
        assert core.app is not before

    def test_beside_a_getattr_of_the_module(self, program):
        """A module's own `__getattr__` goes on working, and is not called for the attribute."""
        program({"core.py": CORE + "\ndef __getattr__(name):\n    return f'<{name}>'\n"})
        core = importlib.import_module("core")
        assert core.other == "<other>"
        assert type(core.app) is core.App
        assert core.other == "<other>"

    def test_one_line_that_reads_it_often(self, core):
        """A line that the interpreter has specialised for the resolved attribute gives the new object after a reset."""

        def read(module):
            return module.app

        for _ in range(20):
            for _ in range(50):
                assert type(read(core)) is core.App
            reset("core:app")
            assert type(read(core)) is core.App
            with override("core:app", "fake"):
                assert [read(core) for _ in range(50)] == ["fake"] * 50
            reset("core:app")

    def test_one_line_that_reads_it_of_many_modules(self, program):
        """A line that has read plain attributes of that name gives the object of a pending one."""

        def read(module):
            return module.app

        import types

        for index in range(30):
            program({f"one{index}.py": CORE})
            plain = types.ModuleType("plain")
            plain.app = index
            assert [read(plain) for _ in range(50)] == [index] * 50
            module = importlib.import_module(f"one{index}")
            vars(module)["added"] = 1
            assert type(read(module)) is module.App

    @pytest.mark.parametrize("order", ["attach first", "attach last"])
    def test_beside_attach(self, program, order):
        """`attach` and `lazy_attribute` work together in one package, in either order."""
        attach = "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, submod_attrs={'part': ['thing']})\n"
        declared = "@lazyguard.lazy_attribute\ndef app() -> list:\n    return [1]\n"
        parts = (attach, declared) if order == "attach first" else (declared, attach)
        program({"both/__init__.py": "import lazyguard\n" + "".join(parts), "both/part.py": "thing = 'thing'"})
        both = importlib.import_module("both")
        assert not is_resolved("both:app")
        assert not is_resolved("both:thing")
        assert both.thing == "thing"
        assert type(both.app) is list
        assert is_resolved("both:app")
        assert is_resolved("both:thing")


class TestReplacing:
    """Assigning, patching, deleting."""

    def test_assigned(self, core):
        """An assignment replaces the attribute, and builds nothing."""
        core.app = "other"
        assert core.app == "other"
        assert vars(core)["app"] == "other"
        assert core.made == []

    def test_mock_patch(self, core):
        """`mock.patch` replaces the attribute and restores it, without building the object."""
        with mock.patch("core.app") as fake:
            assert core.app is fake
            core.use()
            fake.task.assert_called_once_with("x")
        assert core.made == []
        assert not is_resolved("core:app")
        assert type(core.app) is core.App

    def test_mock_patch_of_a_resolved_one(self, core):
        """`mock.patch` does the same to a built object."""
        app = core.app
        with mock.patch.object(core, "app", "fake"):
            assert core.app == "fake"
        assert core.app is app

    def test_monkeypatch(self, core, monkeypatch):
        """pytest's monkeypatch reads the attribute, so it builds the object, which is restored afterwards."""
        with monkeypatch.context() as patch:
            patch.setattr("core.app", "fake")
            assert core.app == "fake"
        assert core.app is core.made[0]

    def test_deleted(self, core):
        """A deleted attribute is gone."""
        del core.app
        assert not hasattr(core, "app")
        with pytest.raises(AttributeError):
            del core.app


class TestAddress:
    """`reset` and `override` by "module:attribute"."""

    def test_reset(self, core):
        """After a reset the next access builds anew, from outside and from inside."""
        before = core.app
        reset("core:app")
        assert not is_resolved("core:app")
        assert core.use()[0] is not before
        assert core.app is core.made[1]
        assert core.inside.task("x")[0] is core.made[1]

    def test_reset_reaches_a_place_that_is_hot(self, core):
        """An expression that the interpreter has specialised sees the new object as well, and not the proxy."""

        def look():
            return core.app

        for _ in range(50):
            before = look()
        reset("core:app")
        after = look()
        assert type(after) is core.App
        assert after is not before

    def test_reset_of_a_pending_one(self, core):
        """A reset of a pending attribute leaves it pending."""
        reset("core:app")
        assert not is_resolved("core:app")
        assert core.app is core.made[0]

    def test_override(self, core):
        """The value is seen from outside, from inside and through a kept proxy; afterwards it is pending again."""
        fake = mock.Mock()
        with override("core:app", fake):
            assert core.app is fake
            assert core.use() is fake.task.return_value
            core.inside.task("y")
            fake.task.assert_called_with("y")
            assert is_resolved("core:app")
        assert not is_resolved("core:app")
        assert core.made == []
        assert core.app is core.made[0]

    def test_override_of_a_resolved_one(self, core):
        """After an override a built object is served again."""
        app = core.app
        with override("core:app", "fake"):
            assert core.app == "fake"
        assert core.app is app
        assert core.inside.task("x")[0] is app
        assert len(core.made) == 1

    def test_reset_inside_an_override(self, core):
        """A reset affects what the override covers; after the block the object is built anew."""
        before = core.app
        with override("core:app", "fake"):
            reset("core:app")
            assert core.app == "fake"
        assert not is_resolved("core:app")
        assert type(core.app) is core.App
        assert core.app is not before

    def test_overrides_that_overlap(self, core):
        """Overrides that end in another order leave those that are still open, and then the former object."""
        first, second = override("core:app", 1), override("core:app", 2)
        first.__enter__()
        second.__enter__()
        first.__exit__()
        assert core.app == 2
        second.__exit__()
        assert not is_resolved("core:app")
        assert core.app is core.made[0]

    def test_override_of_an_assigned_one(self, core):
        """After an override an assigned value is served again."""
        core.app = "assigned"
        with override("core:app", "fake"):
            assert core.app == "fake"
        assert core.app == "assigned"
        assert core.made == []

    def test_through_the_proxy(self, core):
        """`reset` and `override` through the proxy affect the module as well."""
        before = core.app
        reset(core.inside)
        after = core.app
        assert after is core.inside.task("x")[0]
        assert after is not before

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("core", "write"),
            ("core:", "write"),
            (":app", "write"),
            ("core:nothing", "is no lazy attribute"),
            ("core:App", "is no lazy attribute"),
            ("no_such_module:app", "is not imported"),
        ],
    )
    def test_wrong(self, core, text, told):
        """An address that names no lazy attribute is refused, and imports nothing."""
        with pytest.raises(UsageError, match=told):
            reset(text)
        assert "no_such_module" not in sys.modules


class TestBadInput:
    """Bad declarations are refused."""

    def test_in_a_function(self):
        """`lazy_attribute` is refused outside module level."""
        with pytest.raises(UsageError, match=r"belongs at module level.*use lazy\(\)"):

            @lazyguard.lazy_attribute
            def app() -> int:
                return 1

    def test_in_a_class(self, program):
        """`lazy_attribute` is refused in a class."""
        program({"wrong.py": "import lazyguard\nclass A:\n @lazyguard.lazy_attribute\n def app(): return 1"})
        with pytest.raises(UsageError, match="module level"):
            importlib.import_module("wrong")

    @pytest.mark.parametrize("name", ["", "a b", "a.b", "1"])
    def test_name(self, name):
        """A name that no attribute can have is refused."""
        with pytest.raises(ConfigurationError, match="not the name of an attribute"):
            lazyguard.lazy_attribute(name)(list)

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("@lazyguard.lazy_attribute\nasync def app(): return 1", "async def"),
            ("@lazyguard.lazy_attribute\ndef app(a): return 1", "needs a"),
            ("app = lazyguard.lazy_attribute(5)", "is made by a function"),
            ("app = lazyguard.lazy_attribute(lambda: 5)", "not the name of an attribute"),
        ],
    )
    def test_factory(self, program, source, told):
        """A function that cannot be a factory is refused, and the import fails with the reason."""
        program({"wrong.py": f"import lazyguard\n{source}\n"})
        with pytest.raises(lazyguard.LazyguardError, match=told):
            importlib.import_module("wrong")


def test_in_a_script():
    """`lazy_attribute` works in `__main__`."""
    code = (
        "import lazyguard, __main__\n"
        "@lazyguard.lazy_attribute\n"
        "def app() -> list:\n    return [1]\n"
        "assert not lazyguard.is_resolved('__main__:app')\n"
        "assert app == [1] and type(__main__.app) is list and type(app) is list\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
