"""Option objects, and the checks of options."""

from __future__ import annotations

import sys
import types

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._base import validation

OPTIONS = [lazyguard.Retry(attempts=2), lazyguard.Breaker(failure_threshold=2), lazyguard.Recovery(initial=2)]


@pytest.mark.parametrize("option", OPTIONS)
def test_they_are_values(option):
    """Option objects are frozen, equal by value, hashable, shown as they are written, and have no dict."""
    name = option.__slots__[0]
    for change in (lambda: setattr(option, name, 3), lambda: delattr(option, name), lambda: setattr(option, "x", 1)):
        with pytest.raises(AttributeError, match="is frozen"):
            change()
    same = type(option)(**{name: 2})
    assert same == option
    assert hash(same) == hash(option)
    assert option != type(option)(**{name: 3})
    assert option != (2,)
    assert eval(repr(lazyguard.Breaker()), {"Breaker": lazyguard.Breaker}) == lazyguard.Breaker()
    assert not hasattr(option, "__dict__")


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (lazyguard.Retry, "attempts"),
        (lazyguard.Breaker, "failure_threshold"),
        (lazyguard.Recovery, "success_threshold"),
    ],
)
def test_whole_numbers(kind, name, value):
    """A bad count, or one below one, is refused with what to give."""
    with pytest.raises(errors.ConfigurationError, match=f"{name}=.* give a whole number of at least 1"):
        kind(**{name: value})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1"])
@pytest.mark.parametrize("kind", [lazyguard.Retry, lazyguard.Recovery])
@pytest.mark.parametrize("name", ["initial", "maximum"])
def test_seconds(kind, name, value):
    """Bad seconds are refused; only a retry's wait can be zero."""
    with pytest.raises(errors.ConfigurationError, match=f"{name}=.* give .* seconds"):
        kind(**{name: value})
    if kind is lazyguard.Recovery:
        with pytest.raises(errors.ConfigurationError, match="more than zero"):
            kind(**{name: 0})
    else:
        assert getattr(kind(**{name: 0}), name) == 0


@pytest.mark.parametrize("value", [3, "OSError", (OSError, 3), [OSError], OSError()])
def test_failure_types(value):
    """`on` takes exception types."""
    with pytest.raises(errors.ConfigurationError, match=r"on=.* give exception types"):
        lazyguard.Retry(on=value)
    assert lazyguard.Retry(on=OSError).on == (OSError,)


def test_options_are_keyword_only():
    """An option given by position is refused."""
    for kind in (lazyguard.Retry, lazyguard.Breaker, lazyguard.Recovery):
        with pytest.raises(TypeError):
            kind(3)


@pytest.fixture
def library(monkeypatch):
    """A loaded module with one exception."""
    module = types.ModuleType("a_library")
    module.Refused = type("Refused", (Exception,), {})  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_library", module)
    return module


def test_failures_by_name(library):
    """A name means its type once the module is loaded, and nothing before."""
    given = validation.failure_types("failures", (OSError, "a_library:Refused", "no_such_library:Refused"))
    assert validation.loaded(given) == (OSError, library.Refused)


def test_a_failure_that_names_nothing(library):
    """The call's own error passes; the next build of the service says which name is wrong."""

    @lazyguard.service(name="db", failures="a_library:Refussed", recovery=None)
    def get() -> str:
        return "made"

    with pytest.raises(errors.ResolutionError) as caught:
        get().upper()
    assert isinstance(caught.value.__cause__, errors.ConfigurationError)
    assert "could not be built: failures='a_library:Refussed' names nothing" in str(caught.value)
    assert validation.loaded(("a_library:Refussed", "a_library:number")) == ()
    library.Refussed = library.Refused
    assert get().upper() == "MADE"
