"""What type checkers must reject of `preload`. Checked, never run: an ignore too many is an error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard


def too_few(done: int, total: int) -> None: ...


def of_other_types(done: str, total: int, name: str, seconds: float, error: BaseException | None) -> None: ...


lazyguard.preload("core", progress=too_few)  # type: ignore[arg-type]
lazyguard.preload("core", progress=of_other_types)  # type: ignore[arg-type]
lazyguard.preload("core", concurrency="2")  # type: ignore[arg-type]
lazyguard.preload("core", timeout=2.0)  # type: ignore[call-arg]
lazyguard.preload("core").wait("1")  # type: ignore[arg-type]
