"""Computes for ever, in C code that keeps the GIL."""

import itertools

sum(itertools.repeat(1))
