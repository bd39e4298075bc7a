"""Forks a copy that imports on and raises, while the original waits for it."""

import os

copy = os.fork()
if copy == 0:
    raise RuntimeError("in the copy")
os.waitpid(copy, 0)
