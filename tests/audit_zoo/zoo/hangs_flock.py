"""Locks a file that it has locked itself, over another descriptor."""

import fcntl

first, second = open(__file__), open(__file__)
fcntl.flock(first, fcntl.LOCK_EX)
fcntl.flock(second, fcntl.LOCK_EX)
