"""Kills itself, which leaves no time to say anything."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
