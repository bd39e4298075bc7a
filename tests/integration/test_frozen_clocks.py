"""Where a test freezes the date, waits go by the machine's time: with the libraries that teams use for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FROZEN = {
    "freezegun": 'freezegun.freeze_time("2024-01-01", real_asyncio=True)',
    "time_machine": 'time_machine.travel("2024-01-01", tick=False)',
}
PROGRAM = """
import asyncio, logging, sys, threading
import {library}
{before}
with {frozen}:
    import lazyguard
    logging.disable(50)
    @lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.01))
    def call(): raise ConnectionError
    try: call()
    except ConnectionError: print("retried")
    @lazyguard.guarded(timeout=0.05)
    async def late(): await asyncio.Event().wait()
    try: asyncio.run(late())
    except lazyguard.DeadlineExceeded: print("ended")
    @lazyguard.service(timeout=0.05, recovery=lazyguard.Recovery(initial=0.01, maximum=0.02))
    def get() -> list:
        if not back.is_set(): raise ConnectionError
        return [1]
    @get.fallback
    def _() -> list: return []
    back, done = threading.Event(), threading.Event()
    lazyguard.subscribe(lambda event: event.kind == "recovered" and done.set())
    print(len(get()))
    back.set()
print(done.wait(30), len(get()))
"""


@pytest.mark.parametrize("before", ["", "import lazyguard; lazyguard.service(timeout=5)(lambda: 1)() + 1"])
@pytest.mark.parametrize("library", FROZEN)
def test_a_frozen_date_holds_up_no_wait(library, before):
    """Retries, time-outs and the recovery of what degraded within the block, wherever lazyguard was loaded."""
    pytest.importorskip(library)
    program = PROGRAM.format(library=library, before=before, frozen=FROZEN[library])
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split("\n")[:4] == ["retried", "ended", "0", "True 1"], ran.stderr
