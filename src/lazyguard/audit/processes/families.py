"""Processes that an audited module started: found again and ended, also where they detached themselves.

Invariants: a process belongs to a child when it is in its session, descends from it, or has its marker in the
environment it was started with (which forks keep, and daemons too). No other process is ever signalled. Without /proc
only the process group is seen.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lazyguard.audit.target.zygote import MARKER

if TYPE_CHECKING:
    from collections.abc import Sequence


def _stat(pid: str) -> tuple[str, int, int, int] | None:
    """Return state, parent, session and start time of a process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    rest = text.rpartition(")")[2].split()
    return rest[0], int(rest[1]), int(rest[3]), int(rest[19])


def _marked(pid: str, token: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARKER}={token}".encode() in environment.split(b"\0")


def offspring(leader: int, token: str) -> dict[int, str]:
    """Return the living processes that come from a child, without itself: process id -> command."""
    if not os.path.isdir("/proc/self"):
        return _group(leader)
    table = {int(pid): stat for pid in os.listdir("/proc") if pid.isdigit() and (stat := _stat(pid)) is not None}
    began = table[leader][3] if leader in table else 0
    found = {pid for pid, stat in table.items() if stat[2] == leader}
    found |= {pid for pid, stat in table.items() if stat[3] >= began and _marked(str(pid), token)}
    found.add(leader)
    grew = True
    while grew:
        more = {pid for pid, stat in table.items() if stat[1] in found} - found
        found |= more
        grew = bool(more)
    found -= {leader, os.getpid()}
    return {pid: _command(pid) for pid in sorted(found) if table[pid][0] not in "ZX"}


def _group(leader: int) -> dict[int, str]:
    try:
        os.killpg(leader, 0)
    except OSError:
        return {}
    return {-leader: "its process group"} if not is_alive(leader) else {}


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not reaped does not."""
    stat = _stat(str(pid))
    if stat is not None:
        return stat[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _command(pid: int) -> str:
    """Return the name of a process, without its arguments: they may hold passwords."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def kill(leader: int, token: str, *, others: Sequence[int] = (), limit: float = 2.0) -> None:
    """End a child's whole group and every descendant; return when none lives or the limit is over.

    `others` are further processes known to come from it. The child must not have been reaped yet, so that its number
    cannot belong to another process.
    """
    deadline = time.monotonic() + limit
    while True:
        for end in (os.killpg, os.kill):
            try:
                end(leader, signal.SIGKILL)
            except OSError:
                pass
        left = [pid for pid in offspring(leader, token) if pid > 0]
        left += [pid for pid in others if pid > 0 and is_alive(pid)]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if not left or time.monotonic() > deadline:
            return
        time.sleep(0.005)
