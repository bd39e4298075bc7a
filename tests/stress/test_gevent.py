"""gevent's patched threads: greenlets race, and what hangs in one of them does not hold up the hub."""

from __future__ import annotations

import pytest

PROGRAM = """
    import sys
    first = sys.argv[1] == "first"
    if not first:
        import lazyguard
    from gevent import monkey
    monkey.patch_all()
    import gevent, gevent.event, time
    import lazyguard
    import logging
    logging.getLogger("lazyguard").addHandler(logging.NullHandler())

    built = []

    def make(seconds=0.01):
        time.sleep(seconds)
        built.append([len(built)])
        return built[-1]

    # greenlets race
    for numbers in (lazyguard.lazy(make), lazyguard.service(timeout=30.0)(make)()):
        built.clear()
        jobs = [gevent.spawn(lambda: numbers[0]) for _ in range(200)]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert [job.value for job in jobs] == [0] * 200
        assert len(built) == 1

    # the hub goes on while a factory hangs
    never = gevent.event.Event()

    @lazyguard.service(timeout=0.3, recovery=None)
    def get_hanging() -> list:
        never.wait()

    beats = []

    def beat():
        while True:
            beats.append(1)
            gevent.sleep(0.005)

    beating = gevent.spawn(beat)
    try:
        len(get_hanging())
    except lazyguard.errors.ResolutionTimeout:
        pass
    else:
        raise AssertionError
    assert len(beats) > 3, beats
    beating.kill()

    # a ring over greenlets
    a = lazyguard.lazy(lambda: [gevent.sleep(0.01), len(b)])
    b = lazyguard.lazy(lambda: [gevent.sleep(0.01), len(a)])

    def told(of):
        try:
            len(of)
        except lazyguard.ResolutionError as error:
            return "waits for itself" in str(error)

    jobs = [gevent.spawn(told, a), gevent.spawn(told, b)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    assert all(job.value for job in jobs), [job.value for job in jobs]
    print("done")
"""


@pytest.mark.parametrize("patched", ["first", "after"])
def test_greenlets_share_one_build_and_the_hub_goes_on(need, process, patched):
    """Patched before or after lazyguard is imported: one build for 200 greenlets, timeouts and rings as ever."""
    need("gevent")
    assert process(PROGRAM, patched).stdout == "done\n"
