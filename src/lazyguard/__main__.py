"""`python -m lazyguard`: the same as the command `lazyguard`."""

from __future__ import annotations

import sys

from lazyguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
