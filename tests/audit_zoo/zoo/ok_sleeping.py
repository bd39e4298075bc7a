"""Waits a little, again and again."""

import time


class Poll:
    sleep = time.sleep
    for _ in range(30):
        sleep(0.01 if _ == 0 else 0.001)


Poll().sleep(0)
