"""Guards around imports on many threads at a time, while the main thread's are ended by signals."""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import threading

import pytest

import lazyguard
from lazyguard._guards import import_guard
from lazyguard.errors import ImportSideEffectError, ImportTimeout

pytestmark = pytest.mark.usefixtures("limited")

ROUNDS = 12


def test_guards_on_threads_and_ends_in_the_main_one(tmp_path, monkeypatch):
    """Each watch is its thread's, each end is its block's, and no watch, timer, handler or lock is left."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for number in range(ROUNDS):
        (tmp_path / f"stress_hang_{number}.py").write_text(
            "import threading\nthreading.Event().wait()\n" if number % 2 else "while True: pass\n"
        )
        (tmp_path / f"stress_fine_{number}.py").write_text("import os\nos.stat('.')\nfine = True\n")
    importlib.invalidate_caches()
    before = signal.getsignal(signal.SIGALRM)
    stop = threading.Event()
    problems: list[object] = []

    def guarded(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            rule = chance.choice(["forbid", None])
            try:
                with lazyguard.import_guard(subprocess=rule, timeout=chance.choice([None, 60.0])):
                    assert importlib.import_module(f"stress_fine_{chance.randrange(ROUNDS)}").fine
                    sys.audit("os.system", b"x")  # what os.system tells before it begins
                    if rule:
                        problems.append("not forbidden")
            except ImportSideEffectError:
                if rule is None:
                    problems.append("forbidden by the guard of another thread")
            except BaseException as error:
                problems.append(error)

    threads = [threading.Thread(target=guarded, args=(seed,), daemon=True) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS):
            name = f"stress_hang_{number}"
            with pytest.raises(ImportTimeout), lazyguard.import_guard(timeout=0.01):
                importlib.import_module(name)
            assert name not in sys.modules
            (tmp_path / f"{name}.py").write_text("now = 'it does not hang'\n")
            importlib.invalidate_caches()
            with lazyguard.import_guard(timeout=60):
                assert importlib.import_module(name).now
    finally:
        stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not problems
    assert not import_guard._watchers
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_forks_amid_guarded_threads(in_child):
    """A child has the watch of its own thread alone, whatever the others were at."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            with lazyguard.import_guard(subprocess="forbid", network="forbid"):
                pass

    def work() -> None:
        assert set(import_guard._watchers) <= {threading.get_ident()}
        with lazyguard.import_guard(network="warn", timeout=30):
            assert os.system("true") == 0

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert in_child(work) == 0
    finally:
        stop.set()
    for thread in threads:
        thread.join(30)
