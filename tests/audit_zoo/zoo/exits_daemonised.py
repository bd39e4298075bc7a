"""Daemonises itself, as servers did: two forks, a session of its own, an empty environment."""

import os

if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.execve("/bin/sleep", ["sleep", "3600"], dict(os.environ))
