"""Writes to stdout and stderr without end."""

import os

while True:
    os.write(1, b"out\n" * 10_000)
    os.write(2, b"err\n" * 10_000)
