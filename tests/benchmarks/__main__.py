"""All benchmarks: import cost, resolved proxies, module attributes."""

from __future__ import annotations

import platform
import sys
import types
from pathlib import Path

import lazy_loader
import lazy_object_proxy
import werkzeug.local
import wrapt
from tests.benchmarks import measure

import lazyguard


class Thing:
    """What the proxies stand for: an instance attribute and a method without arguments."""

    def __init__(self) -> None:
        self.attribute = 1

    def method(self) -> None:
        """Do nothing."""


thing, number = Thing(), 5
lazy_thing = lazyguard.lazy(lambda: thing, name="thing")
lazy_number = lazyguard.lazy(lambda: number, name="number")


def _proxies(target: object, ours: object) -> dict[str, object]:
    subjects = {
        "the thing itself": target,
        "lazyguard.lazy": ours,
        "lazy_object_proxy.Proxy (C)": lazy_object_proxy.Proxy(lambda: target),
        "wrapt.LazyObjectProxy (C)": wrapt.LazyObjectProxy(lambda: target),
        "werkzeug.local.LocalProxy": werkzeug.local.LocalProxy(lambda: target),
    }
    for subject in subjects.values():
        str(subject)  # resolve
    return subjects


def _modules() -> dict[str, object]:
    plain = types.ModuleType("plain")
    plain.dumps = 1  # type: ignore[attr-defined]
    subjects: dict[str, object] = {"a plain module": plain}
    for name, attach in (("lazyguard.attach", lazyguard.attach), ("lazy_loader.attach", lazy_loader.attach)):
        module = sys.modules[f"json_by_{attach.__module__}"] = types.ModuleType(f"json_by_{attach.__module__}")
        module.__dict__["__getattr__"], _, _ = _declare(attach, module)
        _ = module.dumps
        subjects[name] = module
    return subjects


def _declare(attach, module):  # type: ignore[no-untyped-def]
    sub = sys.modules[f"{module.__name__}.sub"] = types.ModuleType(f"{module.__name__}.sub")
    sub.dumps = 1  # type: ignore[attr-defined]
    module.__path__ = []
    found = attach(module.__name__, submod_attrs={"sub": ["dumps"]})
    module.__dict__["__getattr__"] = found[0]
    return found


def main() -> None:
    """Measure, print, and write build/bench.json."""
    peers = measure.versions("lazy-object-proxy", "wrapt", "werkzeug", "lazy-loader", "tenacity")
    print(f"CPython {platform.python_version()}, lazyguard {lazyguard.__version__}, {peers}")
    rows = measure.table(
        "import cost, over an empty package",
        measure.imports(
            {
                "import empty_package": "import empty_package",
                "import lazyguard": "import lazyguard",
                "from lazyguard import attach": "from lazyguard import attach",
                "from lazyguard import lazy": "from lazyguard import lazy",
                "from lazyguard import lazy, service": "from lazyguard import lazy, service",
                "import lazy_loader": "import lazy_loader",
                "import lazy_object_proxy": "import lazy_object_proxy",
                "import tenacity": "import tenacity",
                "import wrapt": "import wrapt",
            }
        ),
        "import empty_package",
    )
    base = "the thing itself"
    things, numbers = _proxies(thing, lazy_thing), _proxies(number, lazy_number)
    rows += measure.table("an instance attribute", measure.statements("v.attribute", things), base)
    rows += measure.table("a method without arguments", measure.statements("v.method()", things), base)
    rows += measure.table("+ on an int", measure.statements("v + 1", numbers), base)
    rows += measure.table("isinstance", measure.statements("isinstance(v, int)", numbers), base)
    rows += measure.table("a module attribute, resolved", measure.statements("v.dumps", _modules()), "a plain module")
    measure.write(
        Path("build", "bench.json"), {"python": platform.python_version(), "peers": peers, "measurements": rows}
    )


if __name__ == "__main__":
    main()
