"""The 23 import checks: what has to be possible with the modules of `core`, whatever Redis does.

Each check is a few lines in a fresh interpreter, under a time limit, against a Redis that is silent or that refuses.
It passes when the lines come to their end in time, and without a traceback. The same checks run on `before` and on
`after`:

    python checks.py before
    python checks.py after
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from silent_redis import silent_redis

HERE = Path(__file__).resolve().parent
TARGETS = (
    "core",
    "core.admin_ui",
    "core.tasks",
    "core.exceptions",
    "core.models",
    "core.config",
    "core.database",
    "core.services",
    "core.monitoring.integrated_dashboard",
)


@dataclass(frozen=True)
class Check:
    """A name, the lines, the interpreter's options, and whether Redis refuses or is silent."""

    name: str
    lines: tuple[str, ...]
    options: tuple[str, ...] = ()
    redis: str = "silent"


@dataclass(frozen=True)
class Result:
    """What became of a check: `passes`, `fails` or `hangs`; the last line that it wrote says why."""

    check: Check
    outcome: str
    seconds: float
    output: str

    @property
    def why(self) -> str:
        return (self.output.strip().splitlines() or [""])[-1]


def checks() -> tuple[Check, ...]:
    """All 23."""
    alone = [Check(f"{target} alone", (f"import {target}",)) for target in TARGETS]
    first = [
        Check(f"{target} first", tuple(f"import {name}" for name in sorted(TARGETS, key=target.__ne__)))
        for target in TARGETS
    ]
    pairs = [
        Check(
            "models and services, from the services",
            (
                "from core.services import queue_service",
                "from core.models import Meeting, record_meeting",
                "import core.services, core.models, sys",
                "assert sys.modules['core.models'].Meeting is Meeting is core.models.Meeting",
            ),
        ),
        Check(
            "tasks and services, from the services",
            (
                "from core.services import transcription_service, queue_service",
                "from core.tasks import app, transcribe_meeting, drain_queue",
                "import core",
                "core.celery_app",
            ),
        ),
    ]
    rest = [
        Check("a Redis that refuses", tuple(f"import {target}" for target in TARGETS), redis="refuses"),
        Check(
            "a missing flask-socketio",
            (
                "import sys",
                "sys.modules['flask_socketio'] = None",
                "import core.monitoring.integrated_dashboard",
            ),
        ),
        Check(
            "models under two names",
            (
                "import os, sys, core",
                "sys.path.insert(0, os.path.dirname(core.__file__))",
                "import models, core.models",
                "assert models.Meeting is core.models.Meeting, 'two classes'",
                "from sqlalchemy.orm import configure_mappers",
                "configure_mappers()",
            ),
            ("-W", "error"),
        ),
    ]
    return (*alone, *first, *pairs, *rest)


def run(
    side: str | os.PathLike[str],
    *,
    chosen: Sequence[Check] | None = None,
    timeout: float = 5.0,
    jobs: int | None = None,
    redis_url: str | None = None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Run the checks on `before`, `after` or any directory with a package `core`; no child outlives this.

    Args:
        side: the directory, relative to this file's.
        chosen: some of the checks only.
        timeout: seconds a check; longer is `hangs`.
        jobs: checks at a time; as many as there are processors when None.
        redis_url: a Redis to use in place of the silent one.
        env: the children's environment, beside the program's own settings; this process's when None.
        progress: called with each result.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; every child has ended.
    """
    waiting = list(checks() if chosen is None else chosen)
    jobs = jobs or os.cpu_count() or 1
    order = {check: at for at, check in enumerate(waiting)}
    results: list[Result] = []
    running: list[_Child] = []
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(_held_interrupts())
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="mediahost-"))
        urls = {
            "silent": redis_url or stack.enter_context(silent_redis()),
            "refuses": stack.enter_context(_refusing()),
        }
        stack.callback(lambda: [child.end() for child in running])
        while waiting or running:
            if interrupts:
                raise KeyboardInterrupt
            while waiting and len(running) < jobs:
                check = waiting.pop(0)
                settings = {"MEDIAHOST_REDIS_URL": urls[check.redis], "MEDIAHOST_DATA_DIR": data}
                settings["MEDIAHOST_DATABASE_URL"] = f"sqlite:///{data}/mediahost.db"
                running.append(_Child(check, HERE / side, {**(env or os.environ), **settings}, data))
            time.sleep(0.01)
            for child in list(running):
                result = child.result(timeout)
                if result is not None:
                    running.remove(child)
                    results.append(result)
                    progress(result)
    return sorted(results, key=lambda result: order[result.check])


class _Child:
    def __init__(self, check: Check, path: Path, env: Mapping[str, str], data: str) -> None:
        self.check = check
        self.output = tempfile.TemporaryFile(dir=data)  # noqa: SIM115 (closed in end)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *check.options, "-c", "\n".join(check.lines)],
            cwd=path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def result(self, timeout: float) -> Result | None:
        """What came of it; None while it runs and may."""
        seconds = time.monotonic() - self.began
        status = self.process.poll()
        if status is None and seconds < timeout:
            return None
        outcome = "hangs" if status is None else "fails" if status else "passes"
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        self.end()
        return Result(self.check, outcome, seconds, text)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()


@contextlib.contextmanager
def _held_interrupts() -> Iterator[list[int]]:
    """SIGINT and SIGTERM go into a list: an exception within Popen would lose the child that it has just started."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _refusing() -> Iterator[str]:
    """An address that refuses connections: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{taken.getsockname()[1]}/0"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (1, 2) or not (HERE / arguments[0] / "core").is_dir():
        print("usage: python checks.py before|after [REDIS_URL]", file=sys.stderr)
        return 2
    results = run(arguments[0], redis_url=arguments[1] if len(arguments) == 2 else None)
    for result in results:
        why = "" if result.outcome == "passes" else f"  {result.why}"
        print(f"{result.outcome:6}  {result.seconds:5.2f} s  {result.check.name}{why}")
    count = {outcome: sum(result.outcome == outcome for result in results) for outcome in ("passes", "fails", "hangs")}
    print(f"{count['passes']} of {len(results)} pass, {count['fails']} fail, {count['hangs']} hang")
    return 0 if count["passes"] == len(results) else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
