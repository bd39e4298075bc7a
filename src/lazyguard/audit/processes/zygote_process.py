"""Processes that fork children which find their dependencies loaded, as the audit sees them: `zygote.py` is their side.

Invariants: a process that forks has one thread, and does nothing else. It answers in time or is lost. When `close`
returns, all of them are gone, and so are their files. A forked child is like any other, but its zygote reaps it.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazyguard.audit.processes import programs
from lazyguard.audit.processes.child_process import STARTUP_LIMIT, Child, Pipes, fields, fit
from lazyguard.audit.processes.programs import ask
from lazyguard.audit.target import CHILD, SURVEYING

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable, Sequence

    from lazyguard.audit.processes.plan import Plan, Settings

# How many zygotes are started, each without what was unsafe before, until all children are fresh.
ROUNDS = 4
ANSWER_LIMIT = 10.0
SCAN_LIMIT = 60.0


class ZygoteLost(Exception):
    """There is no zygote, or it does not answer; the text says why."""


class Server:
    """A process that forks: the zygote, or one that holds a package which it has imported."""

    def __init__(self) -> None:
        self.directory: Path = Path(tempfile.mkdtemp(prefix="lazyguard-audit-"))
        self.pipes: Pipes = Pipes(self.directory)
        self.pid = 0
        self._text = b""

    def ask(self, shape: str, *words: str) -> list[Any]:
        """Send a request and return the answer, of that shape."""
        self.pipes.send(("\t".join(words) + "\n").encode("utf-8", "surrogateescape"))
        found = self.answer(ANSWER_LIMIT)
        if not fit(found, shape):
            raise ZygoteLost("gave an answer that is none")
        return found

    def answer(self, limit: float, stop: Callable[[], bool] = lambda: False) -> list[Any]:
        """Return the next line; raise ZygoteLost when none comes in time."""
        deadline = time.monotonic() + limit
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            if left <= 0 or stop():
                raise ZygoteLost(f"did not answer within {limit:g} s")
            if select.select([self.pipes.fileno()], [], [], min(left, 0.1))[0]:
                read = self.pipes.recv(1 << 16)
                if not read:
                    raise ZygoteLost("ended")
                self._text += read
            elif self.pid and not programs.is_alive(self.pid):
                raise ZygoteLost("ended")
        line, _, self._text = self._text.partition(b"\n")
        found = fields(line)
        if not found:
            raise ZygoteLost("gave an answer that is none")
        return found

    def close(self) -> None:
        self.pipes.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def end(self) -> None:
        """End the process, which another one reaps."""
        if self.pid:
            programs.end(self.pid)
        self.close()


# What has numerical libraries start no threads as they are loaded, which no fork could take along.
SINGLE_THREADED = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class Zygote:
    """The forking processes of one audit."""

    plan: Plan
    settings: Settings
    stop: Callable[[], bool]
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    missing: set[str] = field(default_factory=set[str])
    token: str = field(default_factory=lambda: os.urandom(8).hex())
    server: Server | None = None
    process: subprocess.Popen[bytes] | None = None
    held: dict[str, Server] = field(default_factory=dict[str, Server])

    def start(self, statements: Sequence[str]) -> None:
        """Start zygotes until one has loaded nothing that is unsafe to fork.

        Raises:
            ZygoteLost: there is none, or the audit was stopped.
        """
        forbidden: set[str] = set()
        wanted = list(statements)
        reason = ""
        for _ in range(ROUNDS):
            server = self._launch(wanted, forbidden)
            loading, limit = "", STARTUP_LIMIT
            try:
                while True:
                    verb, *rest = map(str, server.answer(limit, self.stop))
                    limit = self.settings.timeout
                    if verb == "loading" and rest:
                        loading = rest[0]
                    elif verb == "missing" and rest:
                        self.missing.add(rest[0])
                    elif verb == "left" and len(rest) == 2:
                        self.left_out.setdefault(*rest)
                    elif verb == "ready":
                        return
                    else:
                        found = dict(zip(rest[::2], rest[1::2], strict=False))
                        self.left_out.update(found)
                        forbidden |= set(found)
                        reason = "some dependency is unsafe to fork, whatever is left out"
                        break
            except ZygoteLost as lost:
                reason = f"the zygote {lost}" + (f" while it loaded {loading}" if loading else "")
                if not loading or self.stop():
                    break
                self.left_out[loading] = "hangs or crashes when it is loaded"
                wanted = [line for line in wanted if line.partition("\t")[0] != loading]
            self._end()
        self._end()
        raise ZygoteLost(reason)

    def _launch(self, statements: Sequence[str], forbidden: set[str]) -> Server:
        self.server = server = Server()
        file, settings = server.directory / "statements", self.settings
        file.write_text("".join(line + "\n" for line in statements), encoding="utf-8")
        roots = [root for roots in self.plan.roots.values() for root in roots]
        given = (str(server.directory), self.plan.path, str(file), ",".join(sorted(forbidden)), settings.setup)
        command = [settings.python, CHILD, "zygote", *given, *roots]
        with open(server.directory / "out", "ab") as out:
            environment = {**SINGLE_THREADED, **settings.environment}
            self.process = programs.start(command, environment, self.token, out, out)
        server.pid = self.process.pid
        return server

    def nearest(self, module: str) -> Server:
        """Return the process that holds the nearest package above a module: its children are forked from that."""
        above = module
        while above:
            above = above.rpartition(".")[0]
            if above in self.held:  # the last is "", which has run the setup
                return self.held[above]
        assert self.server is not None
        return self.server

    def hold(self, package: str) -> bool:
        """Have a process import a package and stand by to fork its modules; return whether it does."""
        server, below = Server(), self.nearest(package)
        limit = self.settings.slow if package else self.settings.timeout
        try:
            (server.pid,) = below.ask("i", "hold", str(server.directory), os.urandom(8).hex(), package, "0")
            verb, *_, safe = server.answer(limit + 1.0, self.stop)
        except (ZygoteLost, OSError, ValueError):
            verb, safe = "", False
        if verb == "holds" and safe:
            self.held[package] = server
            return True
        server.end()
        return False

    def release(self, needed: Callable[[str], bool]) -> None:
        """End the processes that hold packages which are no longer needed."""
        for package in [each for each in self.held if not needed(each)]:
            self.held.pop(package).end()

    def _end(self) -> None:
        if self.process is not None:
            programs.kill(self.process.pid, self.token)
            self.process.wait()
        if self.server is not None:
            self.server.close()
        self.process = self.server = None

    def close(self) -> None:
        """End all of them."""
        self.release(lambda _: False)
        self._end()


def scan(plan: Plan, settings: Settings, stop: Callable[[], bool]) -> tuple[list[str], int]:
    """Return the import statements of foreign modules in the sources, and how many sources have no byte code."""
    rows = [(each, *plan.roots.get(each.partition(".")[0], ())) for each in plan.modules]
    command = (settings.python, *SURVEYING, "foreign")
    found, _ = ask(command, rows=rows, limit=SCAN_LIMIT, env=settings.environment, stop=stop)
    return (found["statements"], found["uncompiled"]) if found is not None else ([], 0)


class Forked(Child):
    """A child that a zygote forks, and reaps on request."""

    def __init__(self, module: str, plan: Plan, settings: Settings, *, server: Server) -> None:
        self.server = server
        # A fork that takes longer than `slow` decides nothing.
        super().__init__(module, plan, settings, timeout=min(settings.timeout, settings.slow), period=settings.period)

    def _launch(self) -> int:
        pipes = Pipes(self.directory)
        self.channel: socket.socket | Pipes = pipes
        job = (str(self.directory), self.token, self.trace.module, repr(self.timeout))
        try:
            (pid,) = self.server.ask("i", "fork", *job)
        except BaseException:
            pipes.close()
            raise
        most = (self.settings.memory or 0) << 20
        if most and hasattr(resource, "prlimit"):
            for limit in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
                with suppress(OSError, OverflowError):  # it has ended, or has a lower one; or there is no such number
                    resource.prlimit(int(pid), limit, (most, most))
        return int(pid)

    def _has_exited(self) -> bool:
        return not programs.is_alive(self.pid)

    def _is_alone(self) -> bool:
        """Return whether it has started nothing: then no other process needs to be looked at."""
        self._read_events()
        if any(event[0] == "effect" and event[3] == "subprocess" for event in self.trace.events):
            return False
        try:
            return not Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return True

    def _family(self) -> dict[int, str]:
        return {} if self._is_alone() else super()._family()

    def _survivors(self) -> dict[int, str]:
        return {} if self.trace.left and self._is_alone() else super()._survivors()

    def _end(self) -> None:
        if not (self.trace.left and self._is_alone()):
            super()._end()

    def _reap(self, exited: bool) -> None:
        if not exited:
            programs.end(self.pid)
        try:
            status, self.trace.cpu_seconds = self.server.ask("in", "reap", str(self.pid))
        except (ZygoteLost, OSError, ValueError):
            self.trace.doubtful = True
            return
        self.trace.status = os.waitstatus_to_exitcode(status) if exited else None
