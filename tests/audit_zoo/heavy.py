"""Stands for a large package that is not first-party."""

import time

time.sleep(0.7)
