"""Laws 1 and 7 under stress: many threads and many tasks, one result a generation, one attempt at a time."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections import Counter

import pytest

import lazyguard
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan

pytestmark = pytest.mark.usefixtures("limited", "restless")

THREADS, TASKS = 64, 1000
ROUNDS = 5


class Counting:
    """A factory that counts how many of its runs there were, and how many at once."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> list[int]:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        made = [len(self.made)]
        self.made.append(made)
        with self._lock:
            self.at_once -= 1
        return made

    async def awaited(self) -> list[int]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.made.append([len(self.made)])
        self.at_once -= 1
        return self.made[-1]


def test_threads_race_for_one_lazy_object(race):
    """64 threads use a pending lazy object at once: one build, and each sees what it made."""
    for _ in range(ROUNDS):
        counting = Counting()
        numbers = lazyguard.lazy(counting)
        assert race(*[lambda numbers=numbers: numbers[0]] * THREADS) == [0] * THREADS
        assert len(counting.made) == 1


def test_threads_race_for_one_module_attribute(race, modules):
    """64 threads reach for a module's attribute: one build, each gets the object itself, and the module is plain."""
    for turn in range(ROUNDS):
        name = f"stress_attribute{turn}"
        source = """
            import lazyguard
            made = []
            @lazyguard.lazy_attribute
            def numbers() -> list:
                made.append([1])
                return made[-1]
        """
        modules(**{name: source})
        module = importlib.import_module(name)

        def from_import(name=name):
            namespace: dict[str, object] = {}
            exec(f"from {name} import numbers", namespace)
            return namespace["numbers"]

        got = race(*[lambda module=module: getattr(module, "numbers"), from_import] * (THREADS // 2))  # noqa: B009 (see test_reloads)
        assert len(module.made) == 1
        assert all(one is module.made[0] for one in got), got
        assert "numbers" in vars(module)
        assert type(module) is type(pytest)


def test_threads_race_for_attached_names(race, modules, tmp_path):
    """64 threads reach for names of a package that nobody has imported: all get the same objects, nothing is left."""
    for turn in range(ROUNDS):
        name = f"stress_package{turn}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "import lazyguard\n"
            "__getattr__, __dir__, __all__ = lazyguard.attach(\n"
            "    __name__, ['deep'], {'one': ['Thing', 'Thing as Other'], 'two': ['two']})\n"
        )
        (tmp_path / name / "one.py").write_text("class Thing: pass\n")
        (tmp_path / name / "two.py").write_text("from . import Thing\ntwo = [Thing]\n")
        (tmp_path / name / "deep.py").write_text("")
        importlib.invalidate_caches()
        package = importlib.import_module(name)
        names = ["Thing", "Other", "two", "deep"]
        got = race(*[lambda one=one, package=package: getattr(package, one) for one in names] * (THREADS // 4))
        for index, one in enumerate(names):
            wrong = [found for found in got[index::4] if found is not getattr(package, one)]
            assert not wrong, (one, wrong)
        assert package.Thing is package.Other is package.two[0]
        assert "__getattr__" not in vars(package)


def test_resets_of_attached_names_race_with_uses(race, tmp_path, monkeypatch):
    """Every name is found at every moment, also by who asks while others reset it, override it and settle."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stress_reset").mkdir()
    (tmp_path / "stress_reset" / "__init__.py").write_text(
        "import lazyguard\n"
        "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, ['sub'], {'one': ['a', 'b', 'c as d']})\n"
    )
    (tmp_path / "stress_reset" / "one.py").write_text("a, b, c = 'a', 'b', 'd'\n")
    (tmp_path / "stress_reset" / "sub.py").write_text("")
    importlib.invalidate_caches()
    package = importlib.import_module("stress_reset")

    def use() -> None:
        for _ in range(3000):
            for name in ("a", "b", "d"):
                assert getattr(package, name) in (name, "a fake")
            assert package.sub.__name__ == "stress_reset.sub"

    def reset() -> None:
        for _ in range(3000):
            for name in ("a", "b", "d", "sub"):
                lazyguard.reset(f"stress_reset:{name}")
            with lazyguard.override("stress_reset:a", "a fake"):
                pass

    assert race(use, reset, use, reset) == [None] * 4
    assert (package.a, package.b, package.d) == ("a", "b", "d")
    del sys.modules["stress_reset"]


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_threads_race_for_one_service(race, timeout):
    """64 threads use a service at once: one build, whoever builds."""
    for _ in range(ROUNDS):
        counting = Counting()
        service = lazyguard.service(timeout=timeout)(counting)
        assert race(*[lambda service=service: service()[0]] * THREADS) == [0] * THREADS
        assert len(counting.made) == 1
        service.reset()


@pytest.mark.parametrize("kind", ["lazy", "service", "timed service", "async service"])
def test_a_thousand_tasks_race(kind):
    """1,000 tasks ask for one pending object: one build, which blocks no loop, and each gets what it made."""
    counting = Counting()
    if kind == "lazy":
        numbers = lazyguard.lazy(counting)
    else:
        factory = counting.awaited if kind == "async service" else counting
        service = lazyguard.service(timeout=30.0 if kind == "timed service" else None)(factory)

    async def ask():
        return await lazyguard.aresolve(numbers) if kind == "lazy" else await service.aget()

    async def main():
        return await asyncio.gather(*[ask() for _ in range(TASKS)])

    got = asyncio.run(main())
    assert len(counting.made) == 1
    assert [one[0] for one in got] == [0] * TASKS


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_tasks_of_many_loops_and_threads_race_for_one_service(race, timeout):
    """Loops on 16 threads with 30 tasks each, and 16 plain threads: one build for all of them."""
    counting = Counting()
    service = lazyguard.service(timeout=timeout)(counting)

    async def many():
        return [one[0] for one in await asyncio.gather(*[service.aget() for _ in range(30)])]

    got = race(*[lambda: asyncio.run(many())] * 16, *[lambda: service()[0]] * 16)
    assert got == [[0] * 30] * 16 + [0] * 16
    assert len(counting.made) == 1


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_resets_and_overrides_race_with_resolution(race, eventually, timeout):
    """Whatever is reset and overridden meanwhile: one attempt at a time, one result a generation, each loser closed."""
    counting = Counting()
    closed: list[object] = []
    plan = Plan(timeout=timeout, close=closed.append)
    cell = Cell(counting, name="raced", place="here:1", plan=plan)
    served: list[tuple[int, object]] = []

    def use():
        for _ in range(60):
            target = cell.resolve()
            now = cell.now
            if now.target is target:
                served.append((now.generation, target))

    def reset():
        for _ in range(60):
            cell.reset()

    def override():
        for index in range(60):
            undo = cell.override(("fake", index))
            cell.resolve()
            undo()

    cell.resolve()
    assert race(*[use] * 12, *[reset] * 2, *[override] * 2) == [None] * 16
    cell.reset()
    assert counting.most == 1
    by_generation: dict[int, set[int]] = {}
    for generation, target in served:
        by_generation.setdefault(generation, set()).add(id(target))
    assert all(len(targets) == 1 for targets in by_generation.values())
    # an attempt that came too late closes its own result, on its own thread
    eventually(lambda: Counter(map(id, closed)) == Counter(map(id, counting.made)))
    assert not cell.now.overrides


def test_the_proxy_is_whole_while_it_is_reset_and_overridden(race):
    """Operators, methods and looks on a live proxy never meet a half-made class while others swap its target."""
    numbers = lazyguard.lazy(lambda: [1, 2, 3])

    def use():
        for _ in range(150):
            assert len(numbers) == 3
            assert numbers[0] == 1
            assert numbers * 2 == [1, 2, 3, 1, 2, 3]
            assert numbers.count(1) == 1
            assert list(numbers) == [1, 2, 3]
            assert isinstance(numbers, list)
            assert numbers == [1, 2, 3]
            repr(numbers)

    def swap():
        for _ in range(150):
            lazyguard.reset(numbers)
            with lazyguard.override(numbers, [1, 2, 3]):
                assert numbers[0] == 1

    assert race(*[use] * 6, *[swap] * 2) == [None] * 8


def test_a_module_attribute_never_keeps_what_was_reset(race, modules):
    """Threads read a module's attribute while others reset and override it: afterwards it is what its cell holds."""
    modules(
        stress_resets="""
        import lazyguard
        made = []
        @lazyguard.lazy_attribute
        def one() -> list:
            made.append([1])
            return made[-1]
        @lazyguard.lazy_attribute
        def two() -> list:
            return [2]
        """
    )
    module = importlib.import_module("stress_resets")

    def use():
        for _ in range(200):
            assert getattr(module, "one")[0] in (1, "fake")  # noqa: B009 (see test_reloads)
            assert getattr(module, "two")[0] == 2  # noqa: B009

    def reset():
        for _ in range(200):
            lazyguard.reset("stress_resets:one")
            lazyguard.reset("stress_resets:two")

    def override():
        for _ in range(200):
            with lazyguard.override("stress_resets:one", ["fake"]):
                pass

    for _ in range(ROUNDS):
        assert race(use, use, use, reset, reset, override) == [None] * 6
        for name in ("one", "two"):
            address = f"stress_resets:{name}"
            if not lazyguard.is_resolved(address):
                before = len(module.made)
                assert type(getattr(module, name)) is list
                assert name == "two" or len(module.made) == before + 1, "what was reset is served"
            assert vars(module)[name] is lazyguard._lazy_imports.access.declared["stress_resets", name].cell.now.target
            lazyguard.reset(address)
            assert type(getattr(module, name)) is list


@pytest.mark.parametrize("change", ["reset", "override", "override ends"])
def test_what_changes_just_before_it_is_written_is_not_lost(modules, monkeypatch, change):
    """A reset or an override comes between a module attribute's build and its entry into the module: it counts."""
    modules(
        stress_between="""
        import lazyguard
        made = []
        @lazyguard.lazy_attribute
        def one() -> list:
            made.append([len(made)])
            return made[-1]
        """
    )
    module = importlib.import_module("stress_between")
    fake = lazyguard.override("stress_between:one", ["fake"])
    if change == "override ends":
        fake.__enter__()
        attribute = lazyguard._lazy_imports.access.declared["stress_between", "one"]
        attribute.take_place()
        vars(module)["one"] = attribute.shown = attribute.proxy
    resolve, changes = Cell.resolve, [change]

    def resolve_and_change(self, **options):
        target = resolve(self, **options)
        if changes:
            changes.clear()
            if change == "reset":
                lazyguard.reset("stress_between:one")
            elif change == "override":
                fake.__enter__()
            else:
                fake.__exit__()
        return target

    monkeypatch.setattr(Cell, "resolve", resolve_and_change)
    first = getattr(module, "one")  # noqa: B009
    assert not changes
    if change == "reset":
        assert first == [0]
        assert module.one == [1]
    elif change == "override":
        assert first == [0]
        assert module.one == ["fake"]
        fake.__exit__()
        assert module.one == [0]
    else:
        assert first == ["fake"]
        assert module.one == [0]
