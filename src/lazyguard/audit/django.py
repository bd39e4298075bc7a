"""Django projects: the setup that their modules want, and the sentence for those that were audited without it.

Invariants: nothing is imported, neither Django nor the project; what `manage.py` says is read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lazyguard.audit.target.statements import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.report.modules import ModuleReport

# The variable of the environment that names the settings.
SETTINGS = "DJANGO_SETTINGS_MODULE"
WANTING = ("AppRegistryNotReady", "ImproperlyConfigured")
_SETTINGS = re.compile(r"""["']DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")


def setup(path: str | Sequence[str]) -> str:
    """Return the statements that set Django up, with the settings that a `manage.py` near the paths names."""
    settings = _settings([path] if isinstance(path, str) else path)
    known = f"import os\nos.environ.setdefault({SETTINGS!r}, {settings!r})\n" if settings else ""
    return known + "import django\ndjango.setup()"


def advice(modules: Sequence[ModuleReport], paths: Iterable[str]) -> str:
    """Return what to do where modules failed for want of the setup; "" otherwise."""
    wanting = [each for each in modules if each.error is not None and each.error.type.endswith(WANTING)]
    if not wanting:
        return ""
    where = "" if _settings(paths) else f", and name its settings in ${SETTINGS}"
    return f"{wanting[0].module} needs Django to be set up: add --django (or django = true in the configuration){where}"


def _settings(paths: Iterable[str]) -> str | None:
    """Return the settings that a `manage.py` names: in one of the paths, beside it, or here."""
    near = [os.path.abspath(path) for path in (*paths, ".")]
    for path in (*near, *map(os.path.dirname, near)):
        found = _SETTINGS.search(text(os.path.join(path, "manage.py")))
        if found:
            return found[1]
    return None
