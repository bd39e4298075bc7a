"""Law 19: forks amid imports, of rings, of ours, and of what ours load: no child hangs, or sees half a module.

Each program forks for a time, `--forks-for` seconds, and prints how often it has. With `LOOKS` at zero a fork waits for
no import, so that all that is under way has to be done anew.
"""

from __future__ import annotations

import os

import pytest

pytestmark = [
    pytest.mark.usefixtures("limited"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
]

# What both programs share: imports that take their time in the parent, and children that are looked at.
FORKING = """
    import faulthandler, importlib.abc, importlib.machinery, os, random, signal, sys, threading, time, traceback
    import warnings
    import lazyguard
    from lazyguard import _core as _core  # with which comes what is done at a fork
    from lazyguard._core import unfinished_imports

    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a process with threads forks
    seconds, looks, parent = float(sys.argv[1]), int(sys.argv[2]), os.getpid()
    unfinished_imports.LOOKS = looks
    chance = random.Random(4)

    def dawdle(longest=0.004):
        if os.getpid() == parent:
            time.sleep(chance.random() * longest)

    def forked(work, limit=20):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(limit)
                faulthandler.register(signal.SIGALRM, chain=True)
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        return child

    def ended(child):
        status = os.waitpid(child, 0)[1]
        assert status == 0, f"a child ended with status {status}"
"""

RINGS = (
    FORKING
    + """
    # Rings of every kind: by module, by name taken before the other has ended, with a registry, in a package.
    SOURCES = {
        "a": "early = []\\nclass Early: pass\\nimport {n}.b as b\\nslow()\\nlate = 1\\ndef last(): return late\\n",
        "b": "from {n}.a import early, Early\\nimport {n}.a as a\\nearly.append('b')\\nslow()\\nimport {n}.c\\n"
             "late = 2\\n",
        "c": "from . import a, b\\nfrom .deep import d\\na.early.append('c')\\nslow()\\nlate = 3\\n",
        "deep": "slow()\\nfrom . import d\\nslow()\\nlate = 4\\n",
        "deep.d": "from {n} import c\\nslow()\\nclass D(c.a.Early): pass\\nslow()\\nlate = 5\\n",
        "": "slow()\\nlate = 6\\n",
    }

    class Rings(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
        def find_spec(self, name, path=None, target=None):
            group, _, part = name.partition(".")
            if group[:4] != "ring" or part not in SOURCES:
                return None
            dawdle(0.001)  # the fork waits for it: the interpreter's own import lock
            return importlib.machinery.ModuleSpec(name, self, is_package=part in ("", "deep"))

        def get_source(self, name):
            group, _, part = name.partition(".")
            return SOURCES[part].replace("{n}", group)

        def create_module(self, spec):
            dawdle()

        def exec_module(self, module):
            module.slow = dawdle
            super().exec_module(module)

    sys.meta_path.insert(0, Rings())
    newest, over = [0, 1], threading.Event()

    # Where two threads enter a ring at two places, Python itself shows them half modules: here they enter at one.
    def imports(odd):
        number = odd
        while not over.is_set():
            parts = random.Random(number).sample(list(SOURCES), len(SOURCES))
            for part in parts:
                __import__(f"ring{number}.{part}".rstrip("."))
            newest[odd] = number
            number += 2

    def look(number, threads):
        ring = f"ring{number}"
        parts = chance.sample(list(SOURCES), len(SOURCES))
        held = [sys.modules.get(f"{ring}.{part}".rstrip(".")) for part in parts]

        def enter():
            for part in parts if threads == 1 else ("", *parts):
                __import__(f"{ring}.{part}".rstrip("."))

        if threads == 1:
            enter()
        else:
            raised = []
            threading.excepthook = lambda told: raised.append(told.exc_value)
            users = [threading.Thread(target=enter) for _ in range(threads)]
            for user in users:
                user.start()
            for user in users:
                user.join()
            if raised:
                raise raised[0]
        found = {part: sys.modules[f"{ring}.{part}".rstrip(".")] for part in SOURCES}
        a, b, c, package = found["a"], found["b"], found["c"], found[""]
        assert [found[part].late for part in SOURCES] == [1, 2, 3, 4, 5, 6]
        assert (package.a, package.b, package.c, package.deep) == (a, b, c, found["deep"])
        assert package.deep.d is found["deep.d"] is c.d
        assert b.a is a and a.b is b and c.a is a and c.b is b
        assert b.early is a.early and sorted(a.early) == ["b", "c"], a.early
        assert b.Early is a.Early is found["deep.d"].D.__base__
        assert a.last() == 1
        for part, module in zip(parts, held):
            assert module is None or (module.late, module) == (found[part].late, found[part])
        if chance.random() < 0.1:
            ended(forked(lambda: look(number + 3, 1)))

    users = [threading.Thread(target=imports, args=(thread % 2,), daemon=True) for thread in range(4)]
    for user in users:
        user.start()
    forks, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(chance.random() * 0.004)
        number = max(newest)
        under_way = number + 2, number + 1, number, number - 1
        children = [forked(lambda: [look(one, 1) for one in under_way]) for _ in range(2)]
        children.append(forked(lambda: look(number + 1, 2)))
        for child in children:
            ended(child)
        forks += len(children)
    over.set()
    for user in users:
        user.join()
    print(forks)
"""
)

OURS = (
    FORKING
    + """
    import logging
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())

    class Slow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            dawdle(0.002)

    class Client:
        def get(self): return "well"

    failed = []

    def fails_once():
        if not failed:
            failed.append(1)
            raise OSError("not yet")
        return Client()

    def fails():
        raise OSError("away")

    def by_preload():
        import colorsys, html.entities, xml.dom.minidom
        return Client()

    def declare(kind):
        if kind == "lazy":
            made = lazyguard.lazy(Client)
            return lambda: made.get()
        if kind == "keys":
            get = lazyguard.service(timeout=20.0)(lambda key, *, region="eu": Client())
            return lambda: get(1, region="us").get()
        if kind == "retry":
            get = lazyguard.service(recovery=None, retry=lazyguard.Retry(attempts=3, initial=0.001))(fails_once)
        elif kind == "failures":
            get = lazyguard.service(timeout=20.0, failures=(OSError,))(Client)
        elif kind == "preload":
            get = lazyguard.service()(by_preload)
        else:
            get = lazyguard.service(timeout=20.0, recovery=lazyguard.Recovery(initial=1000, maximum=1000))(fails)
            get.fallback(lambda: Client())
        return lambda: get().get()

    def preloaded(use):
        if kind == "preload":
            handle = lazyguard.preload("xml.dom.minidom", "html.parser", "wave")
            use()
            handle.wait()
        return use()

    kind = sys.argv[3]
    sys.meta_path.insert(0, Slow())
    uses = [declare(kind)]
    answers = []

    def look():
        failed.clear()
        assert preloaded(uses[-1]) == "well"

    first = threading.Thread(target=lambda: answers.append(preloaded(uses[0])), daemon=True)
    first.start()
    forks = 0
    while first.is_alive():
        children = [forked(look), forked(look)]
        forks += len(children)
        for child in children:
            ended(child)
    assert answers == ["well"], answers
    print(forks)
"""
)


MULTIPROCESSING = """
    import importlib, multiprocessing, os, sys, threading, time
    import lazyguard

    @lazyguard.service(timeout=20.0)
    def get_it() -> list:
        import slow_ring.one
        return [os.getpid(), slow_ring.one.whole]

    def report(_):
        time.sleep(0.005)
        import slow_ring.one, slow_ring.two
        return os.getpid(), get_it()[0], get_it()[1], slow_ring.two.seen()

    if __name__ == "__main__":
        method, directory = sys.argv[1:]
        os.mkdir(f"{directory}/slow_ring")
        for name, source in {
            "__init__": "",
            "one": "import time\\nparts = []\\nimport slow_ring.two\\ntime.sleep(0.03)\\nwhole = sorted(parts)\\n",
            "two": "import time\\nfrom slow_ring.one import parts\\nparts += [1, 2]\\ntime.sleep(0.03)\\n"
                   "import slow_ring.one\\ndef seen(): return slow_ring.one.whole\\n",
        }.items():
            with open(f"{directory}/slow_ring/{name}.py", "w") as file:
                file.write(source)
        sys.path.insert(0, directory)
        for turn in range(4):
            for name in [known for known in sys.modules if known.startswith("slow_ring")]:
                del sys.modules[name]
            get_it.reset()
            started = lazyguard.preload("slow_ring.one", get_it)
            time.sleep(0.02 * turn)
            with multiprocessing.get_context(method).Pool(2) as pool:
                for here, built, whole, seen in pool.map(report, range(8), 1):
                    assert (built, whole, seen) == (here, [1, 2], [1, 2]), (here, built, whole, seen)
            assert started.wait(30) and not started.errors, started.errors
        print("done")
"""


@pytest.fixture
def forks_for(request) -> float:
    """Return the seconds for which one of the programs forks."""
    return request.config.getoption("--forks-for")


@pytest.mark.parametrize("looks", [0, 2000])
def test_forks_amid_rings_of_modules(process, forks_for, looks):
    """Threads import rings without end; each child imports those under way, and finds them whole and consistent."""
    forks = int(process(RINGS, str(forks_for), str(looks)).stdout)
    assert forks > 5 * forks_for


@pytest.mark.parametrize("looks", [0, 2000])
@pytest.mark.parametrize("kind", ["lazy", "keys", "retry", "failures", "fallback", "preload"])
def test_forks_amid_a_first_use(process, kind, looks):
    """A first use loads what is ours, or what ours load; each child that is forked meanwhile can use it."""
    assert int(process(OURS, "0", str(looks), kind).stdout) > 0


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_pool_amid_a_preload(process, tmp_path, method):
    """Pools of each kind are made while the parent preloads: each worker has what it preloads whole, and its own."""
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    assert process(MULTIPROCESSING, method, str(tmp_path), **quiet).stdout == "done\n"
