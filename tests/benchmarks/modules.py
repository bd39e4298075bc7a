"""What an attribute of a module costs when all that it declares is resolved: attach beside its peers and PEP 810."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pyperf
from tests.benchmarks.rows import installed

SUB = "dumps = 1\nloads = 2\n"
PACKAGES = {
    "a plain module": "from .sub import dumps, loads\n",
    "lazyguard.attach": "import lazyguard\n__getattr__, __dir__, __all__ = "
    "lazyguard.attach(__name__, submod_attrs={'sub': ['dumps', 'loads']})\n",
    "lazyguard.lazy_attribute": "import lazyguard\n@lazyguard.lazy_attribute\ndef dumps() -> int:\n    return 1\n",
}
if installed("lazy_loader"):
    PACKAGES["lazy_loader.attach"] = PACKAGES["lazyguard.attach"].replace("lazyguard", "lazy_loader")
if sys.version_info >= (3, 15):
    PACKAGES["lazy import (PEP 810)"] = "lazy from .sub import dumps, loads\n"


def packages(directory: str) -> dict[str, ModuleType]:
    """Return packages that declare the same names, each in its way, all resolved."""
    sys.path.insert(0, directory)
    found: dict[str, ModuleType] = {}
    for number, (name, text) in enumerate(PACKAGES.items()):
        root = Path(directory, f"package_{number}")
        root.mkdir()
        (root / "__init__.py").write_text(text)
        (root / "sub.py").write_text(SUB)
        found[name] = importlib.import_module(root.name)
        _ = found[name].dumps, getattr(found[name], "loads", None)
    return found


def main() -> None:
    """Measure; a program of pyperf's."""
    runner = pyperf.Runner(program_args=("-m", "tests.benchmarks.modules"))
    with tempfile.TemporaryDirectory() as directory:
        for name, module in packages(directory).items():
            title = f"a module attribute, all resolved | {name} | a plain module"
            runner.timeit(title, "x.dumps", setup="x = module", globals={"module": module})


if __name__ == "__main__":
    main()
