"""Ignores every signal that can be ignored, and hangs."""

import signal
import threading

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
threading.Event().wait()
