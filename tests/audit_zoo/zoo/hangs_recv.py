"""Waits for an answer from a server that accepts and never answers; the server is in the same process."""

import socket

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.recv(1)
