"""Starts a thread that the process waits for."""

import threading

threading.Thread(target=threading.Event().wait, name="worker").start()
