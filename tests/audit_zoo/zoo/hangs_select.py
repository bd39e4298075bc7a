"""Waits for a socket that nobody writes to."""

import select
import socket

here, there = socket.socketpair()
select.select([here], [], [])
