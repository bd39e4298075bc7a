"""Waits for an event that is never set."""

import threading


def wait():
    threading.Event().wait()


wait()
