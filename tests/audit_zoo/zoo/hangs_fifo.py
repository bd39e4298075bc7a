"""Reads a named pipe that nobody writes into."""

import os

path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"lazyguard-zoo-fifo-{os.getpid()}")
os.mkfifo(path)
pipe = os.open(path, os.O_RDWR)
os.remove(path)
os.read(pipe, 1)
