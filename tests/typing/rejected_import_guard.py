"""What type checkers must reject of guards around imports: each ignore is needed. Checked, never run."""

# pyright: basic, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard

lazyguard.import_guard(2.0)  # type: ignore[call-arg]
lazyguard.import_guard(timeout="2")  # type: ignore[arg-type]
lazyguard.import_guard(network="deny")  # type: ignore[arg-type]
lazyguard.import_guard(subprocess=True)  # type: ignore[arg-type]


@lazyguard.import_guard(timeout=1)
def load(name: str) -> str:
    return name


load(3)  # type: ignore[arg-type]
