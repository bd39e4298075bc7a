"""Waits for a socket that never gets data, by the selector of the standard library."""

import selectors
import socket

here, there = socket.socketpair()
selector = selectors.PollSelector()
selector.register(here, selectors.EVENT_READ)
selector.select()
