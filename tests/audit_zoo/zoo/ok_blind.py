"""Closes every descriptor it did not open, and opens another in the place of one."""

import os

os.closerange(3, 4096)
file = open(os.devnull, "w")
import zoo.plain
