"""Takes long in its own body."""

import time


def warm_up():
    time.sleep(0.7)


warm_up()
