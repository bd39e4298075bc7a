"""SIGINT and SIGTERM, handled while an audit runs, so that it ends its children and reports what is known.

Invariants: only the main thread can handle signals; elsewhere none arrives, and they do what they always do. Those that
the host ignores stay ignored. Its handlers are back when the audit ends.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class Wakeup:
    """The signal that came, and a pipe that becomes readable then, so that a select returns."""

    def __init__(self) -> None:
        self.number: int | None = None
        reader, self._writer = os.pipe()
        self.reader: int = reader
        os.set_blocking(self._writer, False)

    def came(self) -> bool:
        return self.number is not None

    def receive(self, number: int, _frame: object) -> None:
        self.number = number
        try:
            os.write(self._writer, b"!")
        except OSError:
            pass

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


@contextmanager
def handled() -> Generator[Wakeup]:
    """Handle the signals meanwhile; yield what has the one that came."""
    wakeup = Wakeup()
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, wakeup.receive)
        yield wakeup
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        wakeup.close()
