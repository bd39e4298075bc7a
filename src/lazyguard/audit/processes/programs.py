"""Programs of `audit.target` that answer one question: started in the audited interpreter, asked, and ended.

Invariants: a program has a session of its own, nothing on stdin, and a time limit. When a function here returns, it and
all that came of it are gone, and so are the files of the question and the answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazyguard.audit.processes.families import kill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


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


def run_quietly(
    command: Sequence[str], *, limit: float, env: Mapping[str, str], stop: Callable[[], bool] = lambda: False
) -> tuple[int | None, str]:
    """Run a command in a session of its own until it ends, the limit is over or `stop` says so.

    Return its status (None: it had to be ended) and the end of its stderr.

    Raises:
        OSError: it cannot be started.
    """
    null = subprocess.DEVNULL
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=errors, env=env, start_new_session=True)
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
                kill(process.pid, "")
                process.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
        return status, errors.read().decode(errors="replace")
