"""Names of files, and what faulthandler writes."""

from __future__ import annotations

from lazyguard.audit.analysis.import_tree import Frame, Scope, read_dumps
from lazyguard.audit.target import CHILD

DUMP = r"""Timeout (0:00:01)!
Thread 0x0000000000000a01 [worker] (most recent call first):
  File "/app/core/other.py", line 1 in other

Current thread 0x0000000000000b02 [python3.15] (most recent call first):
  File "/usr/lib/socket.py", line 64 in recv
  File "<frozen importlib._bootstrap>", line 1 in _call
  File "{here}", line 9 in run
  File "/app/core/t\xe4sks\u20ac.py", line ??? in <module>
  ...
Fatal Python error: Aborted

Thread 0x0000000000000b02 (most recent call first):
  File "/app/core/tasks.py", line 5 in <module>

Current thread's C stack trace (most recent call first):
  Binary file "python", at _Py_DumpStack+0x4a [0x1]
""".replace("{here}", CHILD)


def test_dumps_are_read_thread_by_thread() -> None:
    """Each dump gives the importing thread's frames, innermost first, without those of the import system."""
    first, second = read_dumps(DUMP, 0xB02)
    assert first.frames == (
        Frame("/usr/lib/socket.py", 64, "recv"),
        Frame("/app/core/täsks€.py", None, "<module>"),
    )
    assert second.reason == "Fatal Python error: Aborted"
    assert second.frames == (Frame("/app/core/tasks.py", 5, "<module>"),)


def test_an_unknown_thread_falls_back_on_the_last_stack() -> None:
    """faulthandler writes the main thread last."""
    assert read_dumps(DUMP, 1)[0].frames[0].function == "recv"


def test_a_broken_dump_is_no_dump() -> None:
    """What a killed process wrote half is read as far as it goes."""
    assert read_dumps("Timeout (0:0", 1) == []
    assert read_dumps("", 1) == []
    assert read_dumps('garbage\n  File "x", line 1 in y\n', 1) == []


def test_files_are_named_from_the_longest_base() -> None:
    """Below the audited path relative to it; in an environment below that path relative to the environment."""
    site = "/app/.venv/lib/python3.11/site-packages"
    scope = Scope("/app", ("/app/core/",), (site, "/usr/lib/python3.11"))
    assert scope.name("/app/core/tasks.py") == "core/tasks.py"
    assert scope.name(f"{site}/redis/client.py") == "redis/client.py"
    assert scope.name("/elsewhere/x.py") == "/elsewhere/x.py"
    assert scope.name("<string>") == "<string>"
