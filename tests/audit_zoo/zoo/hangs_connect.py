"""Connects to a server whose queue is full: no answer, and no refusal."""

import socket

server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(0)
queue = [socket.socket() for _ in range(4)]
for one in queue:
    one.setblocking(False)
    one.connect_ex(server.getsockname())
socket.create_connection(server.getsockname())
