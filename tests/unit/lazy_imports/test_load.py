"""Lazy imports: `load`, and `lazy_imports` for import statements."""

from __future__ import annotations

import builtins
import importlib
import sys
import threading

import pytest

import lazyguard
from lazyguard import is_resolved, load
from lazyguard.errors import MissingModuleError, UsageError

FILES = {
    "pkg/__init__.py": "name = 'pkg'\nwith open(__file__ + '.log', 'a') as f: f.write('x')\n",
    "pkg/one.py": "value = 1",
    "pkg/two.py": "value = 2",
    "pkg/deep/__init__.py": "value = 'deep'",
    "pkg/deep/er.py": "value = 'deeper'",
    "broken.py": "1 / 0",
    "needy.py": "import no_such_dependency",
}


@pytest.fixture
def modules(program):
    """Put a package, a broken module and a module that needs a missing one on the path."""
    program(FILES)


@pytest.fixture
def declare(program):
    """Write a module with lazy import statements, import it and return it."""

    def make(source, name="host"):
        path = f"{name.replace('.', '/')}.py"
        program({**FILES, path: f"import lazyguard\nwith lazyguard.lazy_imports():\n{source}"})
        return importlib.import_module(name)

    before = builtins.__import__
    yield make
    assert builtins.__import__ is before


def indented(*lines):
    """Return the lines of a `with` block."""
    return "".join(f"    {line}\n" for line in lines)


class TestLoad:
    """`load`."""

    def test_at_first_use(self, modules):
        """Nothing is imported or looked up before the first use."""
        pkg, missing = load("pkg"), load("no_such_module.part:Name")
        assert not is_resolved(pkg)
        assert "pkg" not in sys.modules
        assert "no_such_module" in repr(missing)
        assert pkg.name == "pkg"
        assert lazyguard.resolve(pkg) is sys.modules["pkg"]

    def test_dotted(self, modules):
        """A dotted name gives that module, not its parent."""
        assert load("pkg.deep.er").value == "deeper"

    def test_name_in_a_module(self, modules):
        """`module:Name` gives the attribute of the module; a submodule counts."""
        assert load("pkg.one:value") == 1
        assert load("pkg:two").value == 2
        assert load("builtins:ValueError")("x").args == ("x",)

    def test_in_containers(self, modules):
        """The proxy works as a local, in a class and in a container."""

        class Holder:
            module = load("pkg.one")

        assert {"a": load("pkg.two")}["a"].value + Holder.module.value == 3

    @pytest.mark.parametrize("name", ["no_such_module", "no_such_module.part", "no_such_module:Name"])
    def test_missing_module(self, name):
        """A module that is not installed is an ImportError with the declaration and the command, each time."""
        proxy = load(name)
        for _ in range(2):
            with pytest.raises(
                MissingModuleError, match=r"test_load.py:\d+.*which distribution has it is not known"
            ) as caught:
                proxy.anything
            assert isinstance(caught.value, ModuleNotFoundError)
            assert caught.value.name == "no_such_module"

    @pytest.mark.parametrize("name", ["pkg.nothing", "pkg.one.nothing"])
    def test_missing_submodule(self, modules, name):
        """If the package is installed and the submodule is missing, the error proposes no installation."""
        with pytest.raises(MissingModuleError, match=r"has no module.*correct the name") as caught:
            load(name).anything
        assert "pip" not in str(caught.value)

    def test_missing_name(self, modules):
        """A name that the module lacks raises an ImportError that says so; `hasattr` does not hide it."""
        proxy = load("pkg:nothing")
        with pytest.raises(ImportError, match=r"test_load.py:\d+: module 'pkg' has no attribute 'nothing'") as caught:
            hasattr(proxy, "x")
        assert caught.value.name == "pkg"
        assert isinstance(caught.value, lazyguard.ResolutionError)

    def test_broken_module(self, modules):
        """An exception of the module's execution is chained; the next use tries again."""
        proxy = load("broken")
        for _ in range(2):
            with pytest.raises(lazyguard.ResolutionError, match="ZeroDivisionError") as caught:
                proxy.value
            assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_a_dependency_is_missing(self, modules):
        """A module that needs a missing one is not reported as missing itself."""
        with pytest.raises(ImportError) as caught:
            load("needy").value
        assert not isinstance(caught.value, MissingModuleError)
        assert caught.value.name == "no_such_dependency"
        assert "needy" in str(caught.value)

    def test_installed_later(self, program):
        """A module that is installed meanwhile is found at the next use."""
        proxy = load("appears")
        with pytest.raises(MissingModuleError):
            proxy.value
        program({"appears.py": "value = 3"})
        assert proxy.value == 3

    @pytest.mark.parametrize("name", ["", ".", ".one", "a..b", "a b", ":Name", "a:b.c", "a:b:c", "a:", "a-b", 5, None])
    def test_wrong_names(self, name):
        """A bad name is refused at once."""
        with pytest.raises(UsageError, match=r"test_load.py:\d+"):
            load(name)


class TestImports:
    """`lazy_imports`."""

    def test_all_forms(self, declare):
        """Every form of the statement binds the right name, and nothing is imported before its use."""
        host = declare(
            indented(
                "import pkg",
                "import pkg.one as first, pkg.two as second",
                "import pkg.deep.er as deeper",
                "from pkg import name, one as renamed",
                "from pkg.deep import er, value",
                "from pkg import (two,)",
                "import no_such_module.part as missing",
                "from no_such_module import thing",
            )
        )
        names = "pkg first second deeper name renamed er value two missing thing".split()
        assert "pkg" not in sys.modules
        assert not any(is_resolved(vars(host)[name]) for name in names)
        assert host.pkg.name == "pkg"
        assert (host.first.value, host.second.value, host.deeper.value) == (1, 2, "deeper")
        assert (str(host.name), host.renamed.value, host.er.value, str(host.value)) == ("pkg", 1, "deeper", "deep")
        assert host.two.value == 2
        with pytest.raises(MissingModuleError):
            host.missing.x
        with pytest.raises(MissingModuleError):
            host.thing()

    def test_below_one_package(self, declare):
        """Statements that name modules below one package bind a package that has all of them."""
        host = declare(indented("import pkg.one", "import pkg.deep.er", "import pkg.two"))
        assert "pkg" not in sys.modules
        assert (host.pkg.two.value, host.pkg.one.value, host.pkg.deep.er.value) == (2, 1, "deeper")

    def test_below_one_package_in_two_blocks(self, declare):
        """Statements of two blocks bind a package that has all of the modules, too."""
        host = declare(indented("import pkg.one") + "with lazyguard.lazy_imports():\n" + indented("import pkg.two"))
        assert (host.pkg.one.value, host.pkg.two.value) == (1, 2)

    def test_a_renamed_one_is_not_imported_with_the_others(self, declare):
        """`import a.b as c` leaves `a` alone, even where `b` is broken."""
        host = declare(indented("import pkg.one", "import pkg.no_such as absent", "import pkg.no_other as other"))
        assert host.pkg.one.value == 1
        with pytest.raises(MissingModuleError):
            host.absent.x

    def test_relative(self, program):
        """Relative imports are resolved by the module's package."""
        program(
            {
                **FILES,
                "pkg/deep/host.py": (
                    "import lazyguard\nwith lazyguard.lazy_imports():\n"
                    "    from . import er\n    from .er import value\n    from .. import one as first\n"
                    "    from ..two import value as second\n    from ... import beyond\n"
                ),
            }
        )
        with pytest.raises(ImportError, match="beyond top-level package"):
            importlib.import_module("pkg.deep.host")
        program(
            {
                "pkg/deep/guest.py": (
                    "import lazyguard\nwith lazyguard.lazy_imports():\n"
                    "    from . import er\n    from .er import value\n    from .. import one as first\n"
                    "    from ..two import value as second\n"
                )
            }
        )
        guest = importlib.import_module("pkg.deep.guest")
        assert "pkg.one" not in sys.modules
        assert (guest.er.value, str(guest.value), guest.first.value, int(guest.second)) == ("deeper", "deeper", 1, 2)

    def test_relative_outside_a_package(self, declare):
        """A module outside a package cannot import relatively, lazily or not."""
        with pytest.raises(ImportError, match="beyond top-level package"):
            declare(indented("from . import one"))

    def test_star(self, declare):
        """`from module import *` needs the names at once, so it is refused."""
        with pytest.raises(UsageError, match=r"from pkg import \* .*cannot be lazy"):
            declare(indented("from pkg import *"))

    def test_future(self, program):
        """`from __future__` statements in the block are no imports."""
        program(
            {
                "host.py": """\
                    import lazyguard
                    with lazyguard.lazy_imports():
                        exec('from __future__ import division')
                    """
            }
        )
        importlib.import_module("host")

    def test_used_inside_the_block(self, declare):
        """A name that is used inside the block is imported for real."""
        host = declare(indented("import pkg", "from pkg import one", "seen = (pkg.name, one.value)"))
        assert host.seen == ("pkg", 1)

    def test_after_the_block(self, declare):
        """After the block imports are eager again, also in the same module and after an exception."""
        host = declare(indented("import pkg"))
        assert host.pkg.name == "pkg"
        exec("import json.tool as tool", vars(host))
        assert type(host.tool) is type(sys)
        with pytest.raises(KeyError):
            declare(indented("import pkg", "raise KeyError"), "raising")
        import colorsys

        assert type(colorsys) is type(sys)

    def test_other_modules_meanwhile(self, program):
        """Modules that are imported inside the block import for real."""
        program(
            {
                **FILES,
                "real.py": "import pkg.one as one\nkind = type(one)",
                "host.py": (
                    "import importlib\nimport lazyguard\nwith lazyguard.lazy_imports():\n"
                    "    real = importlib.import_module('real')\n    import pkg.two as other\n"
                ),
            }
        )
        host = importlib.import_module("host")
        assert host.real.kind is type(sys)
        assert not is_resolved(host.other)

    def test_other_threads_meanwhile(self, program):
        """A block of one thread leaves the statements of others alone, in whatever order the blocks end."""
        program(dict.fromkeys(("own_colours.py", "own_fractions.py"), ""))
        inside, leave = threading.Barrier(2), threading.Event()
        results = {}
        before = builtins.__import__

        def other():
            with lazyguard.lazy_imports():
                import own_colours
            inside.wait(10)
            with lazyguard.lazy_imports():
                inside.wait(10)
                assert leave.wait(10)
                import own_fractions
            import stat

            results.update(colours=own_colours, fractions=own_fractions, stat=stat)

        thread = threading.Thread(target=other)
        with lazyguard.lazy_imports():
            thread.start()
            inside.wait(10)
            inside.wait(10)
        import decimal

        leave.set()
        thread.join(10)
        assert builtins.__import__ is before
        assert type(decimal) is type(results["stat"]) is type(sys)
        assert not is_resolved(results["colours"])
        assert not is_resolved(results["fractions"])

    def test_nested_and_in_a_function(self, program):
        """Blocks nest, and work in a function."""
        program({"own_colours.py": "", "own_fractions.py": "from fractions import Fraction"})
        before = builtins.__import__
        with lazyguard.lazy_imports():
            with lazyguard.lazy_imports():
                import own_colours
            import own_fractions
        assert builtins.__import__ is before
        assert not is_resolved(own_colours)
        assert not is_resolved(own_fractions)
        assert own_fractions.Fraction(1, 2) * 2 == 1

    def test_another_hook_comes_meanwhile(self):
        """An `__import__` that other code installs inside the block stays, and goes on working."""
        before = builtins.__import__
        calls = []

        def hook(name, *arguments, **named):
            calls.append(name)
            return wrapped(name, *arguments, **named)

        try:
            with lazyguard.lazy_imports():
                wrapped = builtins.__import__
                builtins.__import__ = hook
            assert builtins.__import__ is hook
            import colorsys

            assert type(colorsys) is type(sys)
            assert "colorsys" in calls
        finally:
            builtins.__import__ = before


class TestWhatIsLoaded:
    """`lazy_imports`, where a statement names what is loaded already."""

    STATEMENTS = (
        "import pkg as bound",
        "import pkg.one as bound",
        "import pkg.deep.er as bound",
        "from pkg import name as bound",
        "from pkg import one as bound",
        "from pkg.deep import er as bound",
        "from pkg.deep.er import value as bound",
        "from class_home import Pet as bound",
        "from class_home import reference as bound",
    )

    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_is_bound_itself(self, declare, program, statement):
        """What a lazy statement binds is the object that the same statement binds eagerly."""
        program({**FILES, "class_home.py": "import lazyguard\nclass Pet: ...\nreference = lazyguard.lazy(Pet)\n"})
        eager: dict = {}
        exec(statement, eager)
        host = declare(indented(statement))
        assert host.bound is eager["bound"]

    def test_load_gives_a_proxy(self):
        """What `load` returns is a proxy whatever is loaded: its module may be replaced later."""
        assert not is_resolved(load("json"))
        assert not is_resolved(load("json:dumps"))

    def test_the_package_of_a_module(self, declare, modules):
        """`import a.b` binds the package itself where both are loaded; beside a lazy `import a.c` it has both."""
        import pkg.one

        host = declare(indented("import pkg.one"))
        assert host.pkg is pkg
        both = declare(indented("import pkg.two", "import pkg.one", "import pkg.one as first"), "other_host")
        assert not is_resolved(both.pkg)
        assert (both.first, both.pkg.two.value, both.pkg.one.value) == (pkg.one, 2, 1)

    def test_no_warning_of_an_exception(self, declare, program, recwarn):
        """An exception class that is loaded is caught as ever, and nothing is told of it."""
        program({"failures.py": "class Failed(Exception): ..."})
        import failures

        host = declare(indented("from failures import Failed"))
        with pytest.raises(failures.Failed):
            raise host.Failed
        assert not recwarn.list

    @pytest.mark.parametrize(
        "source",
        [
            "def __getattr__(name):\n    print(undefined_name)",
            "import lazyguard\n@lazyguard.lazy_attribute\ndef late():\n    return [1]",
            "import lazyguard\n"
            "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, submod_attrs={'x': ['late']})",
            "import sys\nclass Kind(type(sys)):\n    @property\n    def late(self): 1 / 0\n"
            "sys.modules[__name__].__class__ = Kind",
        ],
    )
    def test_what_comes_late_is_not_built(self, declare, program, source):
        """A name that its module makes at the first use is not made by the statement."""
        program({"later/__init__.py": source, "later/x.py": "late = [1]"})
        importlib.import_module("later")
        assert not is_resolved(declare(indented("from later import late as bound")).bound)

    def test_amid_its_import(self, program):
        """What is half imported, on this thread or another, is a proxy, and right as soon as it is whole."""
        program(
            {
                "half/__init__.py": "early = [1]\nfrom half import user\nlate = [2]\n",
                "half/user.py": (
                    "import lazyguard\nwith lazyguard.lazy_imports():\n"
                    "    import half as package\n    from half import early, late, user as this\n"
                ),
            }
        )
        import half

        user = half.user
        names = ("package", "early", "late", "this")
        assert not any(is_resolved(vars(user)[name]) for name in names)
        assert (user.package.late, user.early, user.late) == ([2], [1], [2])
        assert lazyguard.resolve(user.this) is user

    def test_what_is_blocked_or_odd(self, declare, program, monkeypatch):
        """What stands in `sys.modules` and is no module is left for the use to find."""
        monkeypatch.setitem(sys.modules, "blocked", None)
        monkeypatch.setitem(sys.modules, "odd", object())
        host = declare(indented("import blocked", "from odd import thing"))
        with pytest.raises(MissingModuleError):
            host.blocked.x
        assert not is_resolved(host.thing)


def test_the_arguments_of_lazy_loader(program):
    """lazy_loader's arguments are accepted: nothing is imported, and there is no warning."""
    program({"mylib/__init__.py": "", "mylib/sub.py": "x = 1"})
    found = lazyguard.load(fullname="mylib.sub", error_on_import=False, suppress_warning=False, require=None)
    assert "mylib" not in sys.modules
    assert found.x == 1


@pytest.mark.parametrize("name", ["no_such_lib", "no_such_lib.sub", "no_such_lib:Name"])
def test_error_on_import(name):
    """With `error_on_import` a missing module raises at the declaration, with its line and the command."""
    with pytest.raises(
        lazyguard.errors.MissingModuleError, match=f"{__file__}.*which distribution has it is not known"
    ) as caught:
        lazyguard.load(name, error_on_import=True)
    assert caught.value.name == "no_such_lib"


def test_error_on_import_of_a_submodule(program):
    """With `error_on_import` the packages above a dotted name are imported; a wrong name is named."""
    program({"mylib/__init__.py": "", "mylib/sub.py": "x = 1"})
    assert not lazyguard.is_resolved(lazyguard.load("mylib.sub", error_on_import=True))
    assert "mylib.sub" not in sys.modules
    with pytest.raises(
        lazyguard.errors.MissingModuleError, match=r"mylib has no module 'mylib\.other': correct the name"
    ):
        lazyguard.load("mylib.other", error_on_import=True)


def test_require():
    """At the first use the installed version must satisfy `require`."""
    pytest.importorskip("packaging")
    assert lazyguard.load("pytest", require="pytest>=1").main
    old = lazyguard.load("pytest", require="pytest>=999")
    with pytest.raises(
        lazyguard.errors.MissingModuleError,
        match=r"pytest \d\S* is installed, and 'pytest>=999' is required: pip install 'pytest>=999'",
    ):
        old.main
    assert not lazyguard.is_resolved(old)
    with pytest.raises(ModuleNotFoundError, match=f"{__file__}.*'pytest>=999' is required"):
        lazyguard.load("pytest", require="pytest>=999", error_on_import=True)


def test_require_of_a_module_that_is_missing():
    """The command installs the version that is required."""
    with pytest.raises(lazyguard.errors.MissingModuleError, match="pip install 'no_such_lib>=2'"):
        lazyguard.load("no_such_lib", require="no_such_lib>=2").x


@pytest.mark.parametrize(
    ("requirement", "what"),
    [("no_such_lib>=2", "write the distribution's name"), ("pytest >=", "is not a requirement")],
)
def test_requirements_that_cannot_be_right(requirement, what):
    """A bad requirement raises an error with a remedy."""
    pytest.importorskip("packaging")
    with pytest.raises(lazyguard.errors.ConfigurationError, match=what):
        lazyguard.load("pytest", require=requirement, error_on_import=True)


def test_require_without_packaging(monkeypatch):
    """If `packaging` is missing, the error names it."""
    monkeypatch.setitem(sys.modules, "packaging", None)
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    with pytest.raises(lazyguard.errors.MissingModuleError, match="pip install packaging"):
        lazyguard.load("pytest", require="pytest>=1", error_on_import=True)
