"""Hangs below so many foreign frames that the hundred that faulthandler shows do not reach this file."""

import copy
import queue


class Waits:
    """Its copy is never done."""

    __deepcopy__ = staticmethod(queue.Queue().get)


nested = [Waits()]
for _ in range(150):
    nested = [nested]
copy.deepcopy(nested)
