"""What of a text stays the same from run to run: the rest is names of temporary files, process ids, uuids, numbers.

Invariant: a text without digits and without random names comes back as it is.
"""

from __future__ import annotations

import re

_LINES = re.compile(r"(?<=:)\d+")
_OF_THE_RUN = re.compile(
    r"(?i)\d*0x[0-9a-f]+|[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|(?<=tmp)\w{8}|[0-9a-f]{12,}"
    r"|(?<=[-_.])(?=[a-z]*[0-9_])[a-z0-9_]{8}(?![a-z0-9])|\d+([.]\d+)?(e[+-]?\d+)?"
)


def steady(kind: str, detail: str) -> str:
    """Return the detail of a finding without what depends on the run, such as process ids and temporary names.

    Where it is reported in two lines, those are not compared either, for they move. An endpoint is compared whole.
    """
    if kind in ("connect", "dns"):
        return detail
    return _OF_THE_RUN.sub("*", _LINES.sub("", detail))
