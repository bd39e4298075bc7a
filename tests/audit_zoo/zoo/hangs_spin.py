"""Computes for ever, in Python."""

while True:
    pass
