"""Pending objects of which nobody knows what they will be."""

import lazyguard
from pending import build


@lazyguard.lazy
def test_bare():
    return build("test_bare")


@lazyguard.lazy_attribute
def attribute():
    return build("attribute")


@lazyguard.service(recovery=None)
def get_bare():
    return build("get_bare")


live = get_bare()
test_name = lazyguard.load("pending.sub:Name")
with lazyguard.lazy_imports():
    from pending.other import Name, flag


class TestHolder:
    """Holds one."""

    held = test_bare


CONTAINERS = [test_bare, {"live": live}, (Name, flag)]
