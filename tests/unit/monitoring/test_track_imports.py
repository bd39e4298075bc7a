"""What `track_imports` promises."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import warnings

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._monitoring import track_imports
from lazyguard.audit import Report


@pytest.fixture
def tracker():
    """Return a tracker that ends with the test."""
    with lazyguard.track_imports() as tracker:
        yield tracker


def names(tracker):
    return [one.module for one in tracker.modules]


def test_every_execution_is_kept_with_its_time_and_the_line_that_asked(program, tracker):
    """Imports are listed in the order of their begin, with their parents; a time includes those of inner imports."""
    root = program(
        {
            "shop/__init__.py": "import shop.prices\n",
            "shop/prices.py": "\nfrom shop import stock\n",
            "shop/stock.py": "",
        }
    )
    importlib.import_module("shop")
    shop, prices, stock = tracker.modules
    assert names(tracker) == ["shop", "shop.prices", "shop.stock"]
    assert (shop.parent, prices.parent, stock.parent) == (None, shop, prices)
    assert shop.by is not None
    assert shop.by.startswith(__file__)
    assert (prices.by, stock.by) == (f"{root}/shop/__init__.py:1", f"{root}/shop/prices.py:2")
    assert shop.seconds >= prices.seconds >= stock.seconds > 0
    assert shop.own_seconds == pytest.approx(shop.seconds - prices.seconds)
    assert stock.file == f"{root}/shop/stock.py"


def test_what_is_there_already_is_not_executed_and_not_kept(program, tracker):
    """A second import makes no entry; a reload makes one."""
    program({"shop.py": ""})
    module = importlib.import_module("shop")
    importlib.import_module("shop")
    importlib.reload(module)
    assert names(tracker) == ["shop", "shop"]


def test_an_import_that_fails_fails_as_before(program, tracker):
    """A module's exception passes untouched, and its entry has `failed`."""
    program({"shop.py": "1 / 0"})
    with pytest.raises(ZeroDivisionError) as caught:
        importlib.import_module("shop")
    assert [(one.module, one.failed) for one in tracker.modules] == [("shop", True)]
    assert all("_imports.py" not in entry.path.name for entry in caught.traceback[1:] if hasattr(entry.path, "name"))


def test_it_ends(program):
    """After `stop` nothing more is recorded, and a second tracker goes on."""
    program({"one.py": "", "two.py": "", "three.py": ""})
    first = lazyguard.track_imports()
    second = lazyguard.track_imports()
    importlib.import_module("one")
    first.stop()
    importlib.import_module("two")
    second.stop()
    importlib.import_module("three")
    assert (names(first), names(second)) == (["one"], ["one", "two"])


def test_a_tracker_that_begins_amid_an_import(program):
    """An import that began before the tracker is not recorded; those inside it are."""
    program(
        {"shop/__init__.py": "import lazyguard\ntracker = lazyguard.track_imports()\nimport shop.a\n", "shop/a.py": ""}
    )
    shop = importlib.import_module("shop")
    shop.tracker.stop()
    assert names(shop.tracker) == ["shop.a"]
    assert shop.tracker.modules[0].parent is None


def test_threads_have_stacks_of_their_own(program, tracker, race):
    """Two threads that import at the same time are not each other's parents."""
    program(
        {
            "meet.py": "import threading\nbarrier = threading.Barrier(2)\n",
            "left.py": "import meet\nmeet.barrier.wait(30)\nimport left_below\nmeet.barrier.wait(30)\n",
            "right.py": "import meet\nmeet.barrier.wait(30)\nimport right_below\nmeet.barrier.wait(30)\n",
            "left_below.py": "",
            "right_below.py": "",
        }
    )
    importlib.import_module("meet")
    race(lambda: importlib.import_module("left"), lambda: importlib.import_module("right"))
    parents = {one.module: one.parent and one.parent.module for one in tracker.modules}
    assert parents["left_below"] == "left"
    assert parents["right_below"] == "right"
    assert (parents["left"], parents["right"]) == (None, None)


class TestBudgets:
    def test_over_it(self, program, told):
        """An import over its budget gives one warning at the importing line, and one event."""
        root = program({"shop.py": "import dear", "dear.py": ""})
        with lazyguard.track_imports(budgets={"dear": 1e-9}), pytest.warns(errors.ImportBudgetWarning) as caught:
            importlib.import_module("shop")
        (warning,) = caught.list
        assert (warning.filename, warning.lineno) == (f"{root}/shop.py", 1)
        assert "the import of dear took" in str(warning.message)
        kinds = [(event.name, event.kind, event.place) for event in told if event.name in ("dear", "shop")]
        assert kinds[0] == ("dear", "over-budget", f"{root}/shop.py:1")
        assert [kind[:2] for kind in kinds[1:]] == [("shop", "imported")]

    def test_one_for_all(self, program):
        """`budget` holds for each import; an entry of `budgets` takes precedence."""
        program({"shop.py": "import dear", "dear.py": ""})
        with (
            lazyguard.track_imports(budget=1e-9, budgets={"dear": 1000}),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            importlib.import_module("shop")
        assert [str(warning.message).split()[3] for warning in caught] == ["shop"]

    @pytest.mark.parametrize(
        "given", [{"budget": 0}, {"budget": "1"}, {"budgets": {"shop": -1}}, {"budget": float("nan")}]
    )
    def test_out_of_range(self, given):
        """A budget that is not a number above zero is refused."""
        with pytest.raises(errors.ConfigurationError, match="out of range"):
            lazyguard.track_imports(**given)


class TestReport:
    def test_an_audit_reads_it(self, program, tmp_path):
        """The JSON has the form of an audit's: verdicts by budget, the blamed line, and the import tree."""
        program({"shop/__init__.py": "import shop.dear\n", "shop/dear.py": "import shop.late\n", "shop/late.py": ""})
        with lazyguard.track_imports(budgets={"shop.dear": 1e-9}) as tracker, pytest.warns(errors.ImportBudgetWarning):
            importlib.import_module("shop")
        tracker.write(tmp_path / "imports.json")
        report = Report.from_dict(json.loads((tmp_path / "imports.json").read_text()))
        (module,) = report.modules
        assert (module.module, module.verdict) == ("shop", "slow")
        assert (module.blame.file, module.blame.line, module.blame.chain) == (
            "shop/__init__.py",
            1,
            ("shop", "shop.dear"),
        )
        assert [(one.module, one.parent, one.first_party) for one in module.imports] == [
            ("shop", None, True),
            ("shop.dear", 0, True),
            ("shop.late", 1, True),
        ]
        assert str(module.imports[2].by) == "shop/dear.py:1"
        assert module.imports[0].start == 0.0

    def test_foreign_modules(self, tracker):
        """Modules of the standard library are not first-party."""
        sys.modules.pop("colorsys", None)
        importlib.import_module("colorsys")
        (module,) = Report.from_dict(tracker.to_dict()).modules
        assert not module.imports[0].first_party
        assert module.third_party_seconds > 0

    def test_slowest(self, program, tracker, monkeypatch):
        """`slowest` returns so many imports at the most, those with the longest own bodies first."""
        time = [0.0]
        monkeypatch.setattr(track_imports, "perf_counter", lambda: time[0])
        monkeypatch.setattr(sys, "spend", lambda seconds: time.append(time.pop() + seconds), raising=False)
        program({"one.py": "import sys, two; sys.spend(1.0)", "two.py": "import sys; sys.spend(2.0)"})
        importlib.import_module("one")
        assert [(one.module, one.own_seconds) for one in tracker.slowest()] == [("two", 2.0), ("one", 1.0)]
        assert [one.module for one in tracker.slowest(1)] == ["two"]


def test_a_listener_that_raises_hurts_no_import_not_even_that_of_logging():
    """An event amid the import of logging is not logged, and the import goes on."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import lazyguard\nlazyguard.subscribe(lambda event: 1 / 0)\n"
            "with lazyguard.track_imports() as t: import logging\n"
            "print('logging' in [one.module for one in t.modules])",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "True", done.stderr


def test_an_import_inside_a_listener(program):
    """A listener's own import is recorded as well."""
    program({"one.py": "", "two.py": ""})
    seen = []

    def listen(event):
        seen.append(event.name)
        importlib.import_module("two")

    undo = lazyguard.subscribe(listen)
    with lazyguard.track_imports():
        importlib.import_module("one")
    undo()
    assert seen == ["one", "two"]


def test_a_thread_that_ends_leaves_nothing(program, tracker):
    """The stack of a thread is removed when its import has ended."""
    program({"one.py": ""})
    thread = threading.Thread(target=importlib.import_module, args=("one",))
    thread.start()
    thread.join()
    assert tracker._stacks == {}


def test_a_tracker_that_is_stopped_in_the_midst_of_an_import(program, told):
    """An import that began before `stop` is still recorded."""
    program({"stops.py": "import sys\nsys.modules['__tracker__'].stop()\nx = 1"})
    tracker = lazyguard.track_imports()
    sys.modules["__tracker__"] = tracker
    try:
        assert importlib.import_module("stops").x == 1
    finally:
        del sys.modules["__tracker__"]
    assert [event.name for event in told if event.kind == "imported"] == ["stops"]
    importlib.import_module("stops")
