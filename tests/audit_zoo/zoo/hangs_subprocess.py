"""Waits for a program that does not end, and that has this process's stdout."""

import subprocess

subprocess.run(["sleep", "3600"])
