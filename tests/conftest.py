"""For all tests: hard time limits with a stack dump, threads that start together, forks, and recorded events."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
import warnings
from contextlib import contextmanager

import pytest

from lazyguard import events

# Generous, since the machine may be busy: what hangs, hangs for ever.
HARD_LIMIT = 60.0


@pytest.fixture
def within(request):
    """Return a context manager that ends the whole run, with the stacks of all threads, when its seconds are over."""
    try:
        from _pytest.faulthandler import fault_handler_stderr_fd_key

        stderr = request.config.stash[fault_handler_stderr_fd_key]
    except (ImportError, KeyError):
        stderr = sys.__stderr__

    @contextmanager
    def limit(seconds: float = HARD_LIMIT):
        faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    return limit


@pytest.fixture
def limited(within):
    """Hold the whole test to the hard limit."""
    with within():
        yield


@pytest.fixture
def race():
    """Return a function that starts functions on threads at one moment, and returns what each returned or raised."""

    def run(*functions, limit: float = 30.0):
        barrier = threading.Barrier(len(functions))
        results: list[object] = [TimeoutError("the thread still runs")] * len(functions)

        def work(index: int) -> None:
            barrier.wait()
            try:
                results[index] = functions[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(functions))]
        for thread in threads:
            thread.start()
        until = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return results

    return run


@pytest.fixture
def in_child():
    """Return a function that forks, runs another in the child under a limit, and returns the child's exit status."""
    if not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")

    def run(work) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a process with threads forks
            pid = os.fork()
        if pid == 0:
            status = 99
            try:
                faulthandler.dump_traceback_later(20.0, exit=True)
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.fixture
def told():
    """Return the list to which every event of the test is added."""
    seen: list[events.Event] = []
    undo = events.subscribe(seen.append)
    yield seen
    undo()


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, for what tells nobody when it has happened."""

    def wait(condition, limit: float = 20.0) -> None:
        until = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.001)

    return wait
