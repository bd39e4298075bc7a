"""`importlib.reload`, event loops one after the other, and modules that are used while they are being imported."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading

import pytest

import lazyguard
from lazyguard._core import cell as cells
from lazyguard._core import wait_cycles

pytestmark = pytest.mark.usefixtures("limited")

DECLARING = """
    import lazyguard
    version = {version}

    @lazyguard.lazy
    def thing() -> list:
        return [version]

    @lazyguard.lazy_attribute
    def attribute() -> list:
        return [version]

    @lazyguard.service(timeout=30.0)
    def get_service() -> list:
        return [version]

    @get_service.fallback
    def _offline() -> list:
        return ["fallback"]
"""


def attribute_of(module):
    return module.attribute


def seen(module) -> list[object]:
    return [module.thing[0], attribute_of(module)[0], module.get_service()[0]]


@pytest.mark.parametrize("before", ["pending", "resolved", "overridden"])
def test_a_reload_declares_anew(modules, before):
    """A reload, in whatever state: new declarations build by the new source, old references by the old, none mixes."""
    modules(stress_reload=DECLARING.format(version=1))
    module = importlib.import_module("stress_reload")
    old_thing, old_service = module.thing, module.get_service
    if before == "resolved":
        assert seen(module) == [1, 1, 1]
    undo = lazyguard.override("stress_reload:attribute", ["fake"])
    if before == "overridden":
        undo.__enter__()
        assert module.attribute == ["fake"]
    for version in (2, 3, 4):
        modules(stress_reload=DECLARING.format(version=version))
        assert importlib.reload(module) is module
        assert not lazyguard.is_resolved("stress_reload:attribute")
        assert not lazyguard.is_resolved(module.thing)
        assert module.thing is not old_thing
        assert module.get_service is not old_service
        assert seen(module) == [version] * 3
        assert type(attribute_of(module)) is list
        assert type(module) is type(pytest)
    if before == "overridden":
        undo.__exit__()
        assert attribute_of(module) == [4]
    assert old_thing[0] == (1 if before == "resolved" else 4)  # a function of a reloaded module sees its new globals


def test_a_reload_races_with_uses(modules, race):
    """Threads use a module's objects while it is reloaded again and again: each answer is one of a version."""
    modules(stress_race=DECLARING.format(version=1))
    module = importlib.import_module("stress_race")

    def use():
        for _ in range(30):
            assert seen(module) == [1, 1, 1]

    def reload():
        for _ in range(10):
            importlib.reload(module)

    assert race(*[use] * 6, reload) == [None] * 7
    assert seen(module) == [1, 1, 1]


def test_a_reload_of_an_attached_package(tmp_path, monkeypatch, race):
    """A package that attaches is reloaded, resolved or not, also while others use it: its names are there."""
    package_dir = tmp_path / "stress_attached"
    package_dir.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    (package_dir / "__init__.py").write_text(
        "import lazyguard\n"
        "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, ['sub'], {'sub': ['value as v']})\n"
    )
    (package_dir / "sub.py").write_text("value = [1]\n")
    importlib.invalidate_caches()
    package = importlib.import_module("stress_attached")
    importlib.reload(package)
    assert package.v == [1]
    importlib.reload(package)
    assert package.v == [1]

    def use():
        for _ in range(100):
            assert package.v == [1]
            assert package.sub.value == [1]

    assert race(use, use, use, lambda: [importlib.reload(package) for _ in range(20)] and None) == [None] * 4


def test_reloads_leave_no_old_cells(modules):
    """What an earlier execution of the module declared is gone with its last reference."""
    from lazyguard._core import declaration

    modules(stress_leak=DECLARING.format(version=1))
    module = importlib.import_module("stress_leak")
    for _ in range(10):
        seen(module)
        importlib.reload(module)
    gc.collect()
    ours = [cell.name for cell, _ in declaration.cells() if "stress_leak" in cell.name]
    assert len(ours) == len(set(ours)), ours


def test_a_service_is_used_while_its_module_is_imported(modules, race):
    """A module uses its own lazy objects in its body, and a thread that it starts and waits for does, too."""
    modules(
        stress_own="""
        import threading
        import lazyguard

        @lazyguard.lazy
        def thing() -> list:
            return [1]

        @lazyguard.lazy_attribute
        def attribute() -> list:
            return [2]

        @lazyguard.service(timeout=30.0)
        def get_service() -> list:
            return [thing[0], attribute[0]]

        got = []
        worker = threading.Thread(target=lambda: got.extend(get_service()))
        worker.start()
        worker.join(20)
        direct = [thing[0], attribute[0], *get_service()]
        """
    )
    module = importlib.import_module("stress_own")
    assert module.got == [1, 2]
    assert module.direct == [1, 2, 1, 2]


def test_a_factory_that_imports_the_module_that_uses_it_is_told(modules):
    """The body of a module waits for a factory that needs this module, on a thread of its own: a ring, not a hang."""
    modules(
        stress_body="""
        from stress_declares import get_it
        value = len(get_it())
        """,
        stress_declares="""
        import lazyguard

        @lazyguard.service(timeout=3600.0, recovery=None)
        def get_it() -> list:
            import stress_body
            return [stress_body.value]
        """,
    )
    with pytest.raises(lazyguard.errors.CircularResolutionError, match=r"stress_declares.*the import of 'stress_body'"):
        importlib.import_module("stress_body")


def declare_async(**options):
    """Return an async service whose target is the loop that built it, and the list of what was built."""
    built: list[object] = []

    @lazyguard.service(**options)
    async def get_it() -> list[object]:
        await asyncio.sleep(0)
        built.append(asyncio.get_running_loop())
        return [built[-1]]

    return get_it, built


def test_two_runs_one_after_the_other():
    """Each `asyncio.run` builds what belongs to its own loop, once, however many ask."""
    get_it, built = declare_async(recovery=None)

    async def main():
        got = await asyncio.gather(*[get_it.aget() for _ in range(50)])
        assert all(one[0] is asyncio.get_running_loop() for one in got)

    for turn in range(5):
        asyncio.run(main())
        assert len(built) == turn + 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("ending", ["cancelled", "stopped", "closed", "collected"])
def test_abandoned_tasks_of_a_loop_hold_up_no_other(ending):
    """Tasks that wait and build on a loop that ends, in whatever way, are in nobody's way on the next one."""
    hold: list[asyncio.Event] = []

    @lazyguard.service(recovery=None)
    async def get_it() -> list[object]:
        if len(hold) < 1:
            hold.append(asyncio.Event())
            await hold[0].wait()
        return [asyncio.get_running_loop()]

    async def begin():
        tasks = [asyncio.ensure_future(get_it.aget()) for _ in range(20)]
        while not hold:
            await asyncio.sleep(0)
        return tasks

    async def use():
        live = await get_it.aget()
        assert live[0] is asyncio.get_running_loop()

    if ending == "cancelled":
        asyncio.run(begin())
    else:
        loop = asyncio.new_event_loop()
        tasks = loop.run_until_complete(begin())
        left = asyncio.all_tasks(loop)
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what the test is about
        if ending != "stopped":
            loop.close()
        if ending == "collected":
            del tasks, task, left
            gc.collect()
    asyncio.run(use())
    asyncio.run(use())
    if ending == "stopped":
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
    elif ending == "closed":
        for task in left:
            task.get_coro().close()
    gc.collect()
    assert not wait_cycles.waiting
    assert not cells.active


@pytest.mark.parametrize("eager", [False, True])
def test_an_eager_task_factory_changes_nothing(eager):
    """With Python 3.12's eager tasks: one build, a ring is told, and a failure leaves nothing behind."""
    if eager and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks came with Python 3.12")
    get_it, built = declare_async(recovery=None)

    @lazyguard.service(recovery=None)
    async def get_ring() -> list[object]:
        return [await asyncio.gather(get_other.aget())]

    @lazyguard.service(recovery=None)
    async def get_other() -> list[object]:
        return [await get_ring.aget()]

    @lazyguard.service(recovery=None)
    async def get_at_once() -> list[object]:
        return [1]

    async def main():
        if eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await asyncio.gather(*[get_it.aget() for _ in range(100)])
        assert (await get_at_once.aget())[0] == 1
        with pytest.raises(lazyguard.ResolutionError) as caught:
            await get_ring.aget()
        assert "waits for itself" in str(caught.value)

    asyncio.run(main())
    assert len(built) == 1
    assert not wait_cycles.waiting
    assert not wait_cycles.children
    assert not cells.active


def test_loops_on_many_threads_take_turns(race):
    """Loops on several threads share one async service: each use gets one of its own loop, or is told; none hangs."""
    get_it, built = declare_async(recovery=None)
    lock = threading.Lock()

    async def main():
        for _ in range(20):
            live = await get_it.aget()
            with lock:
                assert len(live) == 1

    results = race(*[lambda: asyncio.run(main())] * 4)
    assert all(result is None or isinstance(result, lazyguard.LazyguardError) for result in results), results
    assert built
