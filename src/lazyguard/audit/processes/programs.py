"""Programs of `audit.target` that answer one question: started, asked, and ended, with all that came of them.

Invariants: a program has a session of its own, nothing on stdin, and a time limit. When `ask` or `run_quietly` returns,
it and all that came of it are gone, and so are the files of the question and the answer. A process belongs to a child
when it is in its session, descends from it, or has its marker in the environment it was started with (which forks keep,
and daemons too). No other process is ever signalled. Without /proc only the process group is seen.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lazyguard.audit.target.zygote import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Output = IO[bytes] | int


def _told(pid: int, name: str) -> bytes:
    """Return what the kernel tells of a process in a file; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> tuple[str, int, int, int] | None:
    """Return state, parent, session and start time of a process; None when it is gone."""
    rest = _told(pid, "stat").rpartition(b")")[2].split()
    return (rest[0].decode(), int(rest[1]), int(rest[3]), int(rest[19])) if rest else None


def offspring(leader: int, token: str) -> dict[int, str]:
    """Return the living processes that come from a child, without itself: process id -> command."""
    if not os.path.isdir("/proc/self"):
        return _group(leader)
    table = {int(pid): stat for pid in os.listdir("/proc") if pid.isdigit() and (stat := _stat(int(pid))) is not None}
    mark = f"{MARKER}={token}".encode()
    began = table[leader][3] if leader in table else 0
    found = {pid for pid, stat in table.items() if stat[2] == leader}
    found |= {pid for pid, stat in table.items() if stat[3] >= began and mark in _told(pid, "environ").split(b"\0")}
    found.add(leader)
    grew = True
    while grew:
        more = {pid for pid, stat in table.items() if stat[1] in found} - found
        found |= more
        grew = bool(more)
    found -= {leader, os.getpid()}
    # Their names, without the arguments: these may hold passwords.
    names = {pid: _told(pid, "comm").decode(errors="replace").strip() or "?" for pid in sorted(found)}
    return {pid: name for pid, name in names.items() if table[pid][0] not in "ZX"}


def _group(leader: int) -> dict[int, str]:
    try:
        os.killpg(leader, 0)
    except OSError:
        return {}
    return {-leader: "its process group"} if not is_alive(leader) else {}


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not reaped does not."""
    stat = _stat(pid)
    if stat is not None:
        return stat[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def end(pid: int) -> None:
    """End one process, where it is there."""
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def kill(leader: int, token: str, *, others: Sequence[int] = (), limit: float = 2.0) -> None:
    """End a child's whole group and every descendant; return when none lives or the limit is over.

    `others` are further processes known to come from it. The child must not have been reaped yet, so that its number
    cannot belong to another process.
    """
    deadline = time.monotonic() + limit
    while True:
        with suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
        end(leader)
        left = [pid for pid in offspring(leader, token) if pid > 0]
        left += [pid for pid in others if pid > 0 and is_alive(pid)]
        for pid in left:
            end(pid)
        if not left or time.monotonic() > deadline:
            return
        time.sleep(0.005)


def ask(
    command: Sequence[str],
    *arguments: str,
    rows: Iterable[Iterable[object]] | None = None,
    limit: float,
    env: Mapping[str, str],
    stop: Callable[[], bool],
) -> tuple[dict[str, Any] | None, str]:
    """Run a command with the file for its answer, the file of its rows (where there are any), and the arguments.

    Return the answer, or None, and how it ended: "ended with status 1: MemoryError". A row is a line, its fields parted
    by tabs; the answer is JSON.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="lazyguard-audit-") as directory:
        out, given = Path(directory) / "out", Path(directory) / "in"
        files = [str(out)]
        if rows is not None:
            text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
            given.write_text(text, encoding="utf-8", errors="surrogateescape")
            files.append(str(given))
        status, errors = run_quietly([*command, *files, *arguments], limit=limit, env=env, stop=stop)
        last = (errors.strip().splitlines() or ["without a message"])[-1]
        end = f"was not done within {limit:g} s" if status is None else f"ended with status {status}: {last}"
        try:
            answer: dict[str, Any] = json.loads(out.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None, end
    return answer, end


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    token: str,
    out: Output,
    err: Output,
    passed: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with nothing on stdin, that is known by its token."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env={**env, MARKER: token},
        pass_fds=passed,
        start_new_session=True,
    )


def run_quietly(
    command: Sequence[str], *, limit: float, env: Mapping[str, str], stop: Callable[[], bool] = lambda: False
) -> tuple[int | None, str]:
    """Run a command in a session of its own until it ends, the limit is over or `stop` says so.

    Return its status (None: it had to be ended) and the end of its stderr.

    Raises:
        OSError: it cannot be started.
    """
    token = secrets.token_hex(8)
    with tempfile.TemporaryFile() as errors:
        process = start(command, env, token, subprocess.DEVNULL, errors)
        status: int | None = None
        deadline = time.monotonic() + limit
        try:
            while status is None and time.monotonic() < deadline and not stop():
                try:
                    status = process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.returncode is None:
                kill(process.pid, token)
                process.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
        return status, errors.read().decode(errors="replace")
