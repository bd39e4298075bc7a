"""Becomes another program."""

import os

os.execvp("sleep", ["sleep", "3600"])
