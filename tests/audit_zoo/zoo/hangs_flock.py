"""Locks a file that it has locked itself, over another descriptor."""

import fcntl

first, second = open("/proc/self/stat"), open("/proc/self/stat")  # its own: others may audit the zoo meanwhile
fcntl.flock(first, fcntl.LOCK_EX)
fcntl.flock(second, fcntl.LOCK_EX)
