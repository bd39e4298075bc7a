"""Has every import refused from here on, and breaks what the end of a process looks at."""

import builtins
import os
import sys
import threading


def refuse(*_):
    raise ImportError("no more imports")


builtins.__import__ = refuse
sys.modules["threading"] = sys.modules["os"] = None
os._exit = os.write = os.close = refuse
