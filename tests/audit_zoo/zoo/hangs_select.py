"""Waits for a socket that never gets data."""

import select
import socket

here, there = socket.socketpair()
select.select([here], [], [])
