"""How proxies are pickled: targets, and what is found again by its name."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import lazyguard
from lazyguard import is_resolved, lazy, resolve
from lazyguard.errors import UsageError

HOST = """
import lazyguard

built = []

@lazyguard.lazy
def numbers() -> list[int]:
    built.append("numbers")
    return [1, 2]

@lazyguard.lazy_attribute
def table():
    built.append("table")
    return {"a": 1}

@lazyguard.service()
def get_client() -> list[int]:
    built.append("client")
    return [3]

@lazyguard.service()
def get_tenant(name: str) -> list[str]:
    built.append(name)
    return [name]

other = lazyguard.service()(lambda: [4])
json = lazyguard.load("json")
held = [lazyguard.lazy(lambda: [5])]
"""


@pytest.fixture
def host(program):
    """Import a module of lazy objects and a service."""
    program({"pickling_host.py": HOST})
    return importlib.import_module("pickling_host")


class Kind:
    """Something that can be pickled."""

    def __init__(self, value=1):
        self.value = value


def function():
    """Pickled by its name."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("state", ["pending", "resolved"])
@pytest.mark.parametrize("target", [Kind(2), Kind, function, len, [1], "a", 5, re.compile("a"), Ellipsis])
def test_of_the_target(target, state, protocol):
    """What a function declares is pickled as its target, and built for it; whatever a pickler can pickle."""
    thing = lazy(lambda: target)
    if state == "resolved":
        resolve(thing)
    found = pickle.loads(pickle.dumps(thing, protocol))
    assert type(found) is type(target)
    assert vars(found) == vars(target) if type(target) is Kind else found == target


def test_once_beside_its_target():
    """A target and its proxy in one container are one object after it."""
    target = Kind()
    one, other = pickle.loads(pickle.dumps([lazy(lambda: target), target]))
    assert one is other
    one, other = copy.deepcopy([lazy(lambda: target), target])
    assert one is other
    assert one is not target


def test_pending_by_reference(host):
    """What a module holds is pickled by its name and not built, and is the same object afterwards."""
    text = pickle.dumps([host.numbers, host.__dict__["table"], host.get_client(), host.other(), host.json])
    assert host.built == []
    found = pickle.loads(text)
    held = [host.numbers, vars(host)["table"], host.get_client(), host.other(), host.json]
    assert all(one is other for one, other in zip(found, held, strict=True))
    assert host.built == []
    assert not is_resolved(host.numbers)


def test_resolved(host):
    """Resolved, a lazy object is its target, and a service's live reference still a reference."""
    assert len(host.numbers) == 2
    assert host.get_client()[0] == 3
    numbers, client, service = pickle.loads(pickle.dumps([host.numbers, host.get_client(), host.get_client]))
    assert type(numbers) is list
    assert client is host.get_client()
    assert service is host.get_client


def test_another_process(host):
    """Another process finds them by their names; they are pending there, and can be built."""
    text = pickle.dumps([host.numbers, host.get_client()])
    program = (
        f"import sys, pickle; sys.path[:0] = {sys.path!r}\n"
        f"numbers, client = pickle.loads({text!r})\n"
        "import pickling_host as host, lazyguard\n"
        "assert numbers is host.numbers and client is host.get_client() and host.built == []\n"
        "assert numbers[1] == 2 and client[0] == 3 and host.built == ['numbers', 'client']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(host.__file__).parent)


def test_a_key(host):
    """The live reference of a key is that of the same key afterwards."""
    text = pickle.dumps([host.get_tenant("a"), host.get_tenant("b")])
    assert host.built == []
    assert [each[0] for each in pickle.loads(text)] == ["a", "b"]


def test_held_under_no_name(host):
    """What a module holds in a container only is built, and its target pickled."""
    assert pickle.loads(pickle.dumps(host.held[0])) == [5]


def test_a_service_that_has_no_name():
    """A service that cannot be found again is not pickled, and the error says what to do."""

    @lazyguard.service()
    def get_list() -> list[int]:
        return []

    with pytest.raises(UsageError, match="Declare it at module level"):
        pickle.dumps(get_list())


def test_a_name_that_is_gone(host):
    """Where the name does not exist any more, the error says so."""
    text = pickle.dumps(host.numbers)
    del host.numbers
    with pytest.raises(UsageError, match="pickling_host:numbers was pickled by reference"):
        pickle.loads(text)


def test_deepcopy(host):
    """A deep copy of a live reference or of a pending object is one of its target."""
    assert type(copy.deepcopy(host.get_client())) is list
    assert type(copy.deepcopy(host.numbers)) is list
    assert copy.deepcopy(host.get_client()) is not host.get_client()


def test_nothing_is_kept_alive():
    """What pickle is told of a proxy's class does not keep its target."""
    namespace = {"lazy": lazy, "Kind": Kind, "__name__": "declaring"}
    exec("thing = lazy(Kind)\nthing.itself = thing", namespace)
    target = weakref.ref(resolve(namespace["thing"]))
    namespace.clear()
    gc.collect()
    assert target() is None
