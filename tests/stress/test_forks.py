"""Processes that start others: pools of each kind, and forks while other threads resolve."""

from __future__ import annotations

import multiprocessing
import os

import pytest

pytestmark = pytest.mark.usefixtures("limited")

POOL = """
    import multiprocessing, os, sys, time
    import lazyguard

    @lazyguard.lazy
    def kept() -> list: return [os.getpid()]

    @lazyguard.lazy(on_fork="reset")
    def renewed() -> list: return [os.getpid()]

    @lazyguard.lazy(on_fork=lambda made: made.append(os.getpid()))
    def mended() -> list: return [os.getpid()]

    @lazyguard.service(timeout=30.0)
    def get_service() -> list: return [os.getpid()]

    @lazyguard.service(on_fork="keep")
    def get_kept() -> list: return [os.getpid()]

    def seen():
        return [kept[0], renewed[0], list(mended), get_service()[0], get_kept()[0]]

    def report(_):
        time.sleep(0.01)
        return os.getpid(), seen()

    if __name__ == "__main__":
        method, parent = sys.argv[1], os.getpid()
        assert seen() == [parent, parent, [parent], parent, parent]
        with multiprocessing.get_context(method).Pool(2) as pool:
            reports = pool.map(report, range(20), 1)
        for here, there in reports:
            assert here != parent
            if method == "fork":
                assert there == [parent, here, [parent, here], here, parent], (parent, here, there)
            else:
                assert there == [here, here, [here], here, here], (parent, here, there)
        assert seen() == [parent, parent, [parent], parent, parent]
        print("done")
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_pool(process, method):
    """What the parent has built is kept, renewed or mended in a fork, as declared; others build their own."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {method}")
    assert process(POOL, method).stdout == "done\n"


AMID = """
    import logging, os, signal, sys, threading
    import lazyguard
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())

    parent, began, gate = os.getpid(), threading.Event(), threading.Event()

    def make() -> list:
        if os.getpid() == parent:
            began.set()
            gate.wait()
        return [os.getpid()]

    kind = sys.argv[1]
    if kind == "lazy":
        made = lazyguard.lazy(make)
    else:
        made = lazyguard.service(timeout=30.0 if kind == "timed" else None)(make)()
    users = [threading.Thread(target=lambda: made[0]) for _ in range(3)]
    for user in users:
        user.start()
    began.wait()
    children = []
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            os._exit(0 if made[0] == os.getpid() else 1)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    gate.set()
    for user in users:
        user.join()
    assert made[0] == parent
    print("done")
"""

AT_ANY_MOMENT = """
    import logging, os, signal, sys, threading
    import lazyguard
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())

    kind, over = sys.argv[1], threading.Event()

    def make() -> list:
        return [1]

    if kind == "lazy":
        made = lazyguard.lazy(make)
    else:
        made = lazyguard.service(timeout=30.0 if kind == "timed" else None)(make)()

    def for_ever():
        while not over.is_set():
            made[0]
            lazyguard.reset(made)

    users = [threading.Thread(target=for_ever, daemon=True) for _ in range(3)]
    for user in users:
        user.start()
    for _ in range(40):
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            for _ in range(3):
                if made[0] != 1:
                    os._exit(1)
                lazyguard.reset(made)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status == 0, status
    over.set()
    for user in users:
        user.join()
    print("done")
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


@needs_fork
@pytest.mark.parametrize("kind", ["lazy", "service", "timed"])
def test_a_fork_amid_the_build_of_another_thread(process, kind):
    """The child does not wait for the parent's thread: it builds its own; the parent's build goes on."""
    assert process(AMID, kind, PYTHONWARNINGS="ignore::DeprecationWarning").stdout == "done\n"


@needs_fork
@pytest.mark.parametrize("kind", ["lazy", "service", "timed"])
def test_a_fork_at_any_moment(process, kind):
    """Threads build and reset without pause while the process forks: each child can use, reset and use again."""
    assert process(AT_ANY_MOMENT, kind, PYTHONWARNINGS="ignore::DeprecationWarning").stdout == "done\n"
