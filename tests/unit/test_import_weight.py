"""What the host pays for importing lazyguard and for declaring with it: nothing that is dear, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard

DEAR = "wrapt tenacity asyncio typing inspect dataclasses logging re threading importlib.metadata".split()

IMPORT = """
import sys
before = set(sys.modules)
import lazyguard
print(*sorted(set(sys.modules) - before))
"""

# Every decorator, with every option, as a host writes them.
DECLARE = """
from __future__ import annotations
import sys
before = set(sys.modules)
import lazyguard

names = lazyguard.__dir__()

class Thing: ...

@lazyguard.lazy
def plain() -> Thing: return Thing()

@lazyguard.lazy(name="named", on_fork="reset", record=("task", "on_after_configure"))
def recorded() -> Thing: return Thing()

@recorded.task(name="one")
def task(): ...

@recorded.on_after_configure.connect
def configured(): ...

lazyguard.lazy(Thing, on_fork=print)

@lazyguard.lazy_attribute
def attribute() -> Thing: return Thing()

@lazyguard.lazy_attribute("other")
def make_other() -> Thing: return Thing()

lazyguard.attach(__name__, submodules=["a"], submod_attrs={"b": ["c", "d as e"]})
numpy, name = lazyguard.load("numpy"), lazyguard.load("core.x:Name")
with lazyguard.lazy_imports():
    import no_such_package.inner as renamed
    import no_such_package.deeper
    from no_such_package import one, two as second

@lazyguard.once
def first(): ...

@lazyguard.once(key="second")
def other(): ...

library = lazyguard.optional_import("no_such_package", extra="x", package="y", why="z")
lazyguard.require("sys", extra="x", package="y")
for mode in ("alias", "warn", "error"):
    lazyguard.prevent_duplicate_imports("lazyguard", action=mode)

with lazyguard.import_guard(network="forbid", subprocess="warn"):
    import sys

@lazyguard.import_guard(timeout=2.0, network="warn")
def load(): import no_such_package

@lazyguard.when_imported("no_such_package")
def hook(module): ...

def do(thing): ...

@lazyguard.service(
    name="a service", timeout=2.0, retry=lazyguard.Retry(attempts=3, initial=0.1, maximum=2, on=(OSError,)),
    breaker=lazyguard.Breaker(failure_threshold=4), failures=(ConnectionError,), probe=do, close=do, critical=True,
    recovery=lazyguard.Recovery(initial=1, maximum=60, success_threshold=2), on_fork="reset", abandon_after=9, grace=1,
)
def get_service() -> Thing: return Thing()

@get_service.fallback(max_degraded=300)
def offline(cause: Exception) -> Thing: return Thing()

@lazyguard.service()
async def get_other() -> Thing: return Thing()

@get_other.fallback
async def other_offline() -> Thing: return Thing()

assert callable(lazyguard.preload) and lazyguard.types.Preload
live = get_service()
with lazyguard.fallbacks("deny"): ...
block = lazyguard.pinned(live)

@lazyguard.guarded(
    name="a call", timeout=2.0, retry=lazyguard.Retry(attempts=2),
    breaker=lazyguard.Breaker(failure_rate=0.5, window_seconds=30.0),
)
def call(key: str) -> Thing: return Thing()

@call.fallback
def no_call(cause: Exception, key: str) -> Thing: return Thing()

@lazyguard.guarded(breaker=lazyguard.Breaker())
async def acall(key: str) -> Thing: return Thing()

with lazyguard.deadline(2.0): lazyguard.remaining()
undo = lazyguard.subscribe(do)
undo()

# Looking is for free as well.
for each in (plain, recorded, numpy, renamed, one, second, live, get_service, library, task):
    repr(each)
assert not any(map(lazyguard.is_resolved, (plain, recorded, attribute, numpy, renamed, one, second, live)))
lazyguard.close()
assert lazyguard.health().status == "pass" and not lazyguard.is_fallback(live)
repr(get_service.health()), lazyguard.health().to_dict()
dir(plain), plain.__doc__, isinstance(plain, Thing)
print(*sorted(set(sys.modules) - before))
"""

# An interpreter may load some of them itself, to find its packages: by the files ending in .pth, for one.
BARE = "import sys; print(*sys.modules)"


def run(code: str, *options: str) -> set[str]:
    """Run code in a fresh interpreter; return the words that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_loads_itself_alone():
    """`import lazyguard` adds its own module to those that the interpreter has, and no other."""
    assert run(IMPORT, "-S") == {"lazyguard"}


def test_declaring_loads_nothing_dear():
    """Every decorator with every option leaves each of the dear modules alone."""
    loaded = run(DECLARE, "-S")
    assert "lazyguard._services.service" in loaded
    assert not loaded & set(DEAR)


USUAL = """
import sys, lazyguard
__getattr__, __dir__, __all__ = lazyguard.attach(__name__, submodules=["a"])
@lazyguard.lazy
def thing(): return [1]
@lazyguard.guarded(timeout=1.0, retry=lazyguard.Retry(attempts=3), breaker=lazyguard.Breaker())
def call(): return 1
@lazyguard.service(timeout=1.0)
def get(): return [1]
get()
print(*sys.modules)
"""


def test_what_declares_has_quoted_annotations():
    """Importing `__future__` for them costs a program as much as a small module of ours."""
    assert "__future__" not in run(USUAL, "-S")


@pytest.mark.parametrize("declared", ["lazyguard.lazy", "lazyguard.service()", "lazyguard.service(timeout=1.0)"])
def test_the_first_use_loads_little(declared):
    """What a program needs as long as all goes well: neither quoted annotations' module nor what fails loads."""
    program = f"import sys, lazyguard\n@{declared}\ndef get() -> list: return [1]\n"
    program += f"len({'get' if declared.endswith('lazy') else 'get()'})\nprint(*sys.modules)\n"
    loaded = run(program, "-S")
    assert "lazyguard._proxies.views" in loaded
    assert not loaded & {"__future__", "lazyguard.errors", "lazyguard._core.causes"}


def test_declaring_loads_nothing_dear_in_a_virtual_environment():
    """The same with the interpreter's own start included, as far as that leaves them out."""
    assert not (run(DECLARE) - run(BARE)) & set(DEAR)


def test_declaring_loads_little():
    """Beside lazyguard's own modules, declaring needs a few that cost nothing."""
    others = {name for name in run(DECLARE) - run(BARE) if not name.startswith("lazyguard")}
    # built into the interpreter, or of a few lines; 3.15 counts _types
    assert others <= set(
        "__future__ atexit contextvars gc _contextvars itertools _collections _types _functools heapq _heapq".split()
    )


@pytest.mark.parametrize("name", DEAR)
def test_the_test_would_see_it(name):
    """What the tests look for does turn up where it is imported."""
    if name in ("wrapt", "tenacity"):
        pytest.importorskip(name)
        assert name in run(f"import sys, {name}; print(*sys.modules)")
    else:
        assert name in run(f"import sys, {name}; print(*sys.modules)", "-S")
