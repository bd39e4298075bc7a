"""Forks into a session of its own; parent and child hang."""

import os
import time

if os.fork() == 0:
    os.setsid()
time.sleep(3600)
