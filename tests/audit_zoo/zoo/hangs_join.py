"""Waits for a thread that has no end."""

import threading

thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
thread.join()
