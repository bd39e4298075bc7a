"""What it costs to import each library, and to declare with it, over an empty package; fresh interpreters in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.rows import US, Row, fresh, installed, least

BASE = "an empty package"
IMPORTS = {
    BASE: "import empty_package",
    "lazyguard": "import lazyguard",
    "lazyguard, attach used": "import lazyguard; lazyguard.attach('x', ['y'])",
    "lazyguard, lazy used": "import lazyguard; lazyguard.lazy(dict)",
    "lazyguard, service used": "import lazyguard; lazyguard.service(timeout=1)(dict)",
    "ducktools.lazyimporter": "import ducktools.lazyimporter",
    "lazy_loader": "import lazy_loader",
    "lazy_object_proxy": "import lazy_object_proxy",
    "werkzeug.local": "import werkzeug.local",
    "tenacity": "import tenacity",
    "django.utils.functional": "import django.utils.functional",
    "wrapt": "import wrapt",
    "celery.local": "import celery.local",
}
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from time import perf_counter
began = perf_counter()
{}
print((perf_counter() - began) * 1e6)
"""


def rows(quick: bool) -> list[Row]:
    """Return the least of many imports of each."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "empty_package").mkdir()
        Path(directory, "empty_package", "__init__.py").touch()
        programs: dict[str, Callable[[], float]] = {}
        for name, statement in IMPORTS.items():
            if name == BASE or installed(statement.split()[1].split(".")[0].rstrip(";")):
                text = PROGRAM.format(statement)
                programs[name] = lambda text=text: float(fresh(text, directory))
        best = least(3 if quick else 15, programs)
    return [Row("import cost", name, value, US, BASE) for name, value in best.items()]
