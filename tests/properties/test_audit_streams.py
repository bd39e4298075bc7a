"""Whatever a child writes, the audit of the others goes on: at most that module's verdict is lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lazyguard.audit.analysis.import_tree import Scope, read_dumps
from lazyguard.audit.analysis.verdict import judge
from lazyguard.audit.output.files import FORMATS
from lazyguard.audit.output.text import table
from lazyguard.audit.processes.child_process import SHAPES, TIMED, Trace, event_in, fit
from lazyguard.audit.report.model import Report

STREAM: list[list[Any]] = [
    ["start", 1.0, 7, False],
    ["begin", 1.1, 7, "core", "/p/core/__init__.py", None, None, None, None, None, None],
    ["begin", 1.2, 7, "core.a", "/p/core/a.py", "/p/core/__init__.py", 3, "/p/core/__init__.py", 3, "/p/core/a.py", 9],
    ["effect", 1.3, 7, "sleep", "0.25", "/p/core/a.py", 1, "/p/core/a.py", 1, None, None],
    ["effect", 1.3, 7, "dns", "db.example", "/p/core/a.py", 2, "/p/core/a.py", 2, "/p/core/a.py", 7],
    ["circular", 1.4, 7, "core", "/p/core/a.py", 4, ["x"]],
    ["end", 1.5, 7, "core.a", False],
    ["end", 1.6, 7, "core", True],
    ["threads", [["feed", "/p/core/a.py", 5, "/p/core/a.py", 5]]],
    ["stage", "atexit"],
    ["result", 0.6, ["ImportError", "no", False, [["/p/core/a.py", 4, "<module>"]], ["core", None, ["y"]]], 0.0],
    ["left"],
]
DUMP = """Timeout (0:00:01)!
Thread 0x0000000000000007 (most recent call first):
  File "/p/core/a.py", line 3 in wait
  File "/p/core/a.py", line 9 in <module>
"""
SCOPE = Scope("/p", ("/p/core/",))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(sorted(SHAPES)),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """A stream of a child with fields replaced, lines lost, repeated, torn and put elsewhere."""
    lines: list[bytes] = []
    for event in draw(st.lists(st.sampled_from(STREAM), max_size=20)):
        fields = list(event)
        for _ in range(draw(st.integers(0, 2))):
            fields[draw(st.integers(0, len(fields) - 1))] = draw(anything)
        line = json.dumps(fields).encode()
        cut = draw(st.integers(0, len(line))) if draw(st.booleans()) else len(line)
        lines.append(line[:cut] + (draw(st.binary(max_size=9)) if cut < len(line) else b""))
    return lines


@settings(deadline=None, database=None)
@given(mutated(), st.text(max_size=40), st.integers(0, len(DUMP)), st.sampled_from(["hangs", "crashes"]))
def test_a_mutated_stream_is_judged_and_written_in_every_format(
    lines: list[bytes], torn: str, at: int, end: str
) -> None:
    trace = Trace("core.a", dump=DUMP[:at] + torn + DUMP[at:], status=None if end == "hangs" else -11)
    for event in filter(None, map(event_in, lines)):
        if event[0] == "start":
            trace.started, trace.thread = event[1], event[2]
        elif event[0] == "result":
            trace.result = event
        elif event[0] == "threads":
            trace.threads = event[1]
        elif event[0] in TIMED:
            trace.events.append(event)

    seen = judge(trace, SCOPE, timeout=5.0, slow=0.5)
    report = Report("3.11.7", 5.0, 1, (seen,))

    assert Report.from_dict(json.loads(FORMATS["json"](report, None))) == report
    assert table(report)
    for name in ("html", "junit"):
        FORMATS[name](report, None)


@settings(deadline=None, database=None)
@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_a_line_that_is_no_event_is_none(line: bytes) -> None:
    event = event_in(line)
    assert event is None or fit(event[1:], SHAPES[event[0]])


def test_a_line_that_is_nested_without_end_is_none() -> None:
    assert event_in(b"[" * 100_000) is None


@settings(deadline=None, database=None)
@given(st.text(), st.integers(0, 0xFFFFFFFF), st.integers(0, 2**70))
def test_a_torn_dump_gives_the_frames_that_can_be_read(name: str, escaped: int, thread: int) -> None:
    header = f"Timeout (0:00:01)!\nThread 0x{thread:016x} (most recent call first):"
    text = f'{header}\n  File "{name}\\U{escaped:08x}", line 3 in f\n'

    assert all(frame.file.encode("utf-8", "surrogatepass") for dump in read_dumps(text, 1) for frame in dump.frames)
