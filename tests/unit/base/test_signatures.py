"""The signature of a service and its `aget`, as FastAPI's `Depends` and `inspect` read it."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import lazyguard


class Client:
    """The object that the services build."""


def plain() -> Client:
    """Make a client."""
    return Client()


async def awaited() -> Client:
    """Make a client."""
    return Client()


def keyed(tenant: str, /, *, region: str = "eu") -> Client:
    """Make a client of a tenant."""
    return Client()


async def keyed_and_awaited(tenant: str) -> Client:
    """Make a client of a tenant."""
    return Client()


FACTORIES = pytest.mark.parametrize("factory", [plain, awaited, keyed, keyed_and_awaited])


@FACTORIES
def test_a_service_and_its_aget_have_the_signature_of_the_factory(factory):
    """A service has its factory's signature, and the globals for annotations that are strings."""
    get = lazyguard.service(recovery=None)(factory)
    for called in (get, get.aget):
        assert inspect.signature(called) == inspect.signature(factory)
        unwrapped = inspect.unwrap(called)
        assert unwrapped.__globals__ is factory.__globals__
        for parameter in inspect.signature(called).parameters.values():
            assert eval(parameter.annotation, unwrapped.__globals__) is str
    assert get.health().state == "pending"


@FACTORIES
def test_what_is_to_be_awaited_is_told(factory):
    """`aget` returns a coroutine; the service never does, also where its factory does."""
    get = lazyguard.service(recovery=None)(factory)
    assert inspect.iscoroutinefunction(get.aget)
    assert not inspect.iscoroutinefunction(inspect.unwrap(get))


def test_aget_is_one_object():
    """`aget` is the same object each time, by which FastAPI finds an override, with its name and docstring."""
    get = lazyguard.service(recovery=None)(awaited)
    assert get.aget is get.aget
    assert get.aget is not lazyguard.service(recovery=None)(awaited).aget
    assert get.aget.__name__ == "aget"
    assert get.aget.__doc__ == lazyguard._services.service.Service.aget.__doc__

    async def main() -> None:
        assert await get.aget() is get()

    asyncio.run(main())


def test_of_one_key():
    """The service of one key takes no arguments."""
    get = lazyguard.service(recovery=None)(keyed_and_awaited)

    async def main() -> None:
        assert await get.of("a").aget() is get("a")

    asyncio.run(main())


def test_a_factory_without_annotations_scope():
    """The class `Service` has no factory, so its signature is its constructor's."""
    get = lazyguard.service(recovery=None)(Client)
    assert str(inspect.signature(get.aget)) == str(inspect.signature(Client))
