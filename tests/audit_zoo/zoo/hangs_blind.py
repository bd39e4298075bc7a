"""Closes every descriptor it did not open, the audit's too, and hangs."""

import os
import time

os.closerange(3, 4096)
time.sleep(3600)
