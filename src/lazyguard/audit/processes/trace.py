"""What a child is to do, and what it told when it was over.

Invariant: plain data; the reading of it is `imports` and `explain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Job:
    """What a child is to do."""

    module: str
    command: tuple[str, ...]
    path: str
    timeout: float
    period: float
    roots: tuple[str, ...]
    env: Mapping[str, str]


@dataclass
class Trace:
    """What a child told and how it ended. Times are seconds on the child's clock."""

    module: str
    events: list[list[Any]] = field(default_factory=list[list[Any]])
    result: list[Any] | None = None
    thread: int = 0
    started: float | None = None
    start_seconds: float = 0.0
    waited_seconds: float = 0.0
    threads: list[list[Any]] = field(default_factory=list[list[Any]])
    stage: str = "threads"
    left: bool = False
    status: int | None = None
    replaced: bool = False
    dump: str = ""
    leaving_dump: str = ""
    output: str = ""
    survivors: dict[int, str] = field(default_factory=dict[int, str])
    cpu_seconds: float = 0.0
    unseen: int = 0
    """The modules that a fork had at no cost worth a line."""
    doubtful: bool = False
    """Whether a fork cannot say for sure."""
