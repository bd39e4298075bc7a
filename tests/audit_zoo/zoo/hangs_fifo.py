"""Reads a named pipe without a writer."""

import os

path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"lazyguard-zoo-fifo-{os.getpid()}")
os.mkfifo(path)
pipe = os.open(path, os.O_RDWR)
os.remove(path)
os.read(pipe, 1)
