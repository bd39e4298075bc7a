"""Objects of `unittest.mock` are refused as fallbacks, except in tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import lazyguard
import lazyguard.testing
from lazyguard import errors
from lazyguard._services import fallback


class Thing:
    """The class that is mocked."""

    def work(self) -> str:
        return "done"


class OwnMock(mock.MagicMock):
    """A subclass, as test helpers have them."""


def plain(size: int) -> int:
    return size


class Recorder:
    """No mock, though it has an attribute of that name."""

    mock = mock.MagicMock()

    def __init__(self) -> None:
        self.mock = mock.MagicMock()


MOCKS = [
    mock.Mock(),
    mock.MagicMock(),
    mock.NonCallableMock(),
    mock.NonCallableMagicMock(spec=Thing),
    mock.Mock(spec=Thing),
    mock.AsyncMock(),
    mock.PropertyMock(),
    OwnMock(),
    mock.create_autospec(Thing),
    mock.create_autospec(Thing, instance=True),
    mock.create_autospec(plain),
    mock.mock_open(),
    mock.sentinel.fallback,
    mock.call(1),
]
NO_MOCKS = [Thing(), Thing, plain, Recorder(), Thing().work, len, object(), "mock", None]


@pytest.mark.parametrize("thing", MOCKS, ids=lambda thing: type(thing).__name__)
def test_mocks(thing):
    """Mocks are recognised by their type, whatever class they pretend to be."""
    assert fallback.is_mock(thing)


@pytest.mark.parametrize("thing", NO_MOCKS)
def test_no_mocks(thing):
    """A real object is no mock, also if it has one as an attribute."""
    assert not fallback.is_mock(thing)


@pytest.fixture
def get(plant):
    """Return a service whose factory fails."""
    plant.fate = OSError("secret")
    return lazyguard.service(name="db", recovery=None)(lambda: plant.make())


@pytest.mark.parametrize("thing", MOCKS[:11], ids=lambda thing: type(thing).__name__)
def test_a_mock_is_refused(get, thing):
    """Outside tests a mock is refused with its place and the remedy, and the next fallback is tried."""

    @get.fallback
    def mocked() -> object:
        return thing

    with lazyguard.testing.set_testing(False):
        with pytest.raises(errors.ServiceUnavailable, match="failed too") as caught:
            get().work
        told = caught.value.__cause__.__cause__
        assert type(told) is errors.ConfigurationError
        assert f"({__file__}:{mocked.__code__.co_firstlineno}) returned an object of unittest.mock" in str(told)
        assert "set_testing(True)" in str(told)
        get.fallback(lambda: "next")
        assert get().upper() == "NEXT"


def test_a_mock_of_an_async_fallback(limited):
    """Of an async fallback the result of the coroutine is checked."""

    @lazyguard.service(name="adb", recovery=None)
    async def get() -> Thing:
        raise OSError

    @get.fallback
    async def _():
        return mock.MagicMock()

    with lazyguard.testing.set_testing(False), pytest.raises(errors.ServiceUnavailable):
        asyncio.run(get.aget())


def test_a_mock_in_tests(get):
    """Under pytest, and in testing mode, mocks can be fallbacks, and record their calls."""
    fallback = mock.MagicMock(spec=Thing)
    fallback.work.return_value = "mocked"
    get.fallback(lambda: fallback)
    assert get().work() == "mocked"
    get().work.assert_called_once_with()


PROGRAM = """
import lazyguard
from unittest import mock

@lazyguard.service(recovery=None)
def get():
    raise ConnectionError

@get.fallback
def _():
    return mock.MagicMock()

try:
    print("served", get().work() is not None)
except lazyguard.ServiceUnavailable as error:
    print("refused", type(error.__cause__.__cause__).__name__)
"""


@pytest.mark.parametrize("testing", [False, True])
def test_in_a_program_of_its_own(testing):
    """A process without pytest refuses mocks."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(Path(lazyguard.__file__).parents[1])
    told = "import lazyguard.testing; lazyguard.testing.set_testing(True)\n" if testing else ""
    result = subprocess.run(
        [sys.executable, "-c", told + PROGRAM], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == ("served True" if testing else "refused ConfigurationError"), result.stderr
