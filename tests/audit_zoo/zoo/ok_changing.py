"""Changes what belongs to the process, each thing on a line of its own."""

import locale
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings

import zoo.plain

os.environ["ZOO_URL"] = "redis://zoo"
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
logging.basicConfig(level=logging.DEBUG)
warnings.simplefilter("error", BytesWarning)
sys.path.append("/nowhere/at/all")
os.chdir("/")
socket.setdefaulttimeout(3.0)
multiprocessing.set_start_method("spawn")
locale.setlocale(locale.LC_ALL, "C")
sys.excepthook = lambda *error: None
sys.stdout = sys.stderr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import textwrap
kept, sys.unraisablehook = sys.unraisablehook, print
sys.unraisablehook, sys.unraisablehook = print, kept
os.environ["ZOO_PLAIN"] = zoo.plain.__name__
del os.environ["ZOO_PLAIN"]
threading.excepthook = print
