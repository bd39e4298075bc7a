"""Waits for an event that nobody sets."""

import threading


def wait():
    threading.Event().wait()


wait()
