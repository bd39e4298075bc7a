"""Starts a program in a session and an environment of its own."""

import subprocess

subprocess.Popen(["/bin/sleep", "3600"], env={}, start_new_session=True)
