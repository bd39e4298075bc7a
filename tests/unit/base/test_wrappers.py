"""What is declared through a team's own decorator or helper is declared where that is used (law 22)."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

import lazyguard
from lazyguard._core import declaration
from lazyguard._proxies import proxy

COMPANY = """
    import functools
    import lazyguard

    def lazy(factory):
        return lazyguard.lazy(factory)

    def client(name):
        return lazyguard.lazy(lambda: [name])

    def deep(factory):
        def inner():
            return lazy(factory)
        return inner()

    def service(**options):
        return lazyguard.service(timeout=30.0, **options)

    def traced(factory):
        @functools.wraps(factory)
        def build(*args, **kwargs):
            return factory(*args, **kwargs)
        return lazyguard.service()(build)

    configured = lazyguard.service(recovery=None)

    def load(name):
        return lazyguard.load(name)

    def temporary():
        return lazyguard.lazy(lambda: ["temporary"])

    attribute = lazyguard.lazy_attribute

    def lazy_attribute(factory):
        return lazyguard.lazy_attribute(factory)
"""
USER = """
    import company_of_tests as company

    built = []

    @company.lazy                                         # 5
    def by_lazy() -> list:
        built.append("by_lazy"); return [1]

    client = company.client("name")                       # 9

    @company.deep
    def by_deep() -> list:                                # 12
        built.append("by_deep"); return [1]

    @company.service(name="by_service")
    def by_service() -> list:                             # 16
        built.append("by_service"); return [1]

    @company.traced
    def by_traced() -> list:                              # 20
        built.append("by_traced"); return [1]

    @company.configured
    def by_configured() -> list:                          # 24
        built.append("by_configured"); return [1]

    json = company.load("json")                           # 27

    @company.traced
    def by_key(key: str, more: int = 1) -> list:          # 30
        return [key, more]

    def make():                                           # what a function of its own makes is not the module's
        return company.lazy(lambda: [1])

    made = make()                                         # 36

    @company.lazy_attribute
    def attribute() -> list:
        return [1]
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Return what imports the module, anew each time."""
    (tmp_path / "company_of_tests.py").write_text(textwrap.dedent(COMPANY))
    (tmp_path / "user_of_tests.py").write_text(textwrap.dedent(USER).lstrip("\n"))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield lambda: importlib.import_module("user_of_tests")
    for name in ("company_of_tests", "user_of_tests"):
        sys.modules.pop(name, None)


def cell_of(thing):
    found = proxy.find_cell(thing)
    assert found is not None
    return found


def line_of(thing) -> str:
    file, _, line = cell_of(thing).place.rpartition(":")
    return f"{file.rpartition('/')[2]}:{line}"


def test_the_place_is_the_users(user):
    module = user()
    lines = {
        name: line_of(getattr(module, name))
        for name in ("by_lazy", "client", "by_deep", "by_service", "by_traced", "by_configured", "json")
    }
    text = textwrap.dedent(USER).lstrip("\n").splitlines()
    for name, place in lines.items():
        file, _, line = place.partition(":")
        assert file == "user_of_tests.py", (name, place)
        near = text[int(line) - 1 : int(line) + 1]
        assert any(name in one or f"company.{name.removeprefix('by_')}" in one for one in near), (name, near)


def test_it_is_as_fast_as_what_a_module_declares(user):
    """Its target has a class of its own, which a module-level object has."""
    module = user()
    for name in ("by_lazy", "client", "by_deep", "json"):
        thing = getattr(module, name)
        lazyguard.resolve(thing)
        assert "_holds" in vars(type(thing)), name
    lazyguard.resolve(module.made)
    assert "_holds" not in vars(type(module.made))


def test_health_knows_it(user):
    module = user()
    known = {cell.place for cell, _ in declaration.cells()}
    assert {cell_of(getattr(module, name)).place for name in ("by_lazy", "client", "by_service")} <= known
    assert cell_of(module.made).place not in known


def test_it_is_built_early_where_that_is_asked_for(user, monkeypatch):
    monkeypatch.setenv("LAZYGUARD_EAGER", "user_of_tests")
    module = user()
    assert module.built == ["by_lazy", "by_deep", "by_service", "by_traced", "by_configured"]
    assert not lazyguard.is_resolved(module.made)


def test_not_for_a_module_that_is_not_named(user, monkeypatch):
    monkeypatch.setenv("LAZYGUARD_EAGER", "company_of_tests")
    assert user().built == []


def test_a_decorator_passes_the_parameters_on(user):
    """Those of the function that it stands around make the key."""
    module = user()
    assert list(module.by_key("a")) == ["a", 1]
    assert module.by_key("a") is module.by_key(key="a", more=1)
    assert module.by_key("a") is not module.by_key("b")
    assert module.by_traced() is module.by_traced()
    assert list(module.by_traced()) == [1]


def test_an_attribute_through_a_decorator(user):
    module = user()
    assert module.attribute == [1]
    assert type(module.attribute) is list


def test_what_a_function_makes_at_run_time(user):
    """Is not the module's, whoever's function that is."""
    user()
    company = sys.modules["company_of_tests"]

    def here():
        return company.temporary(), company.lazy(lambda: [1])

    for thing in here():
        known = {cell.place for cell, _ in declaration.cells()}
        assert cell_of(thing).place not in known
        lazyguard.resolve(thing)
        assert "_holds" not in vars(type(thing))
