"""What type checkers must reject of `lazyguard.testing.chaos`. Checked, never run: an ignore too many is an error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard
from lazyguard.testing import chaos


@lazyguard.service(timeout=2.0)
def get_client() -> str:
    return ""


chaos(get_client, error="OSError")  # type: ignore[arg-type]
chaos(get_client, error=int)  # type: ignore[arg-type]
chaos(get_client, latency="1")  # type: ignore[arg-type]
chaos(get_client, 1.0)  # type: ignore[call-arg]
