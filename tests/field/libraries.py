"""Libraries that re-export lazily, with lazyguard in the place of what they do it with: their own tests, and imports.

    python -m tests.field.libraries [NAME ...]

For each, below build/field: an environment, and two copies of the package. In the second one lazyguard's functions are
what `import lazy_loader` finds, or a hand-written `__getattr__` gives way to `attach`. The same tests run in both; what
passes and what fails must be the same, test by test. The page docs/explanation/field.md has the table that this prints.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.field.environments import HOME, STATES, copied, differing, installed, sources, their_tests

# `import lazy_loader as lazy` is `import lazyguard as lazy` then.
SHIM = "import sys\n\nimport lazyguard\n\nsys.modules[__name__] = lazyguard\n"
# Their data sets are not fetched: a test that wants one fails at once, before and after.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "MNE_SKIP_NETWORK_TESTS": "1"}
# What is used: all that a package declares, found by PEP 562 alone.
USE = "[getattr(m, n) for n in dir(m) if n[0] != '_' and n not in {leave}]"
TIMED = "import time\nbegan = time.process_time()\nimport {package} as m\n{use}\nprint(time.process_time() - began)"
ROUNDS = 7


@dataclass(frozen=True, kw_only=True)
class Library:
    """One library of the index."""

    requirement: str
    package: str
    # The module whose import is timed, where that is another one.
    face: str = ""
    # A file, a regular expression, what takes its place.
    edits: tuple[tuple[str, str, str], ...] = ()
    # What their tests require, and what they are: paths from the place where the package lies.
    needed: tuple[str, ...] = ()
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()
    # Files of the source distribution that the tests want beside the package.
    fetched: tuple[str, ...] = ()
    # Names that are not used when all are, since using one shows a window or warns.
    leave: tuple[str, ...] = ()
    how: str = "lazy_loader"


LOADER = (("lazy_loader.py", r"\A", SHIM),)
# Theirs is a map from a name to a module, read by a `__getattr__`.
MAPPED = """import lazyguard as _lazyguard

_by_module = {{}}
for _name in {names}:
    _by_module.setdefault({module}, []).append(_name)
{target}_lazyguard.attach(__name__, {submodules}, absolute_attrs=_by_module)
"""


def by_hand(file: str, module: str) -> tuple[str, str, str]:
    """Return the edit that puts `attach` in the place of a `__getattr__`."""
    pattern = r"^def __getattr__\(name\):.*?    raise AttributeError\([^\n]*\)\n"
    return file, pattern, MAPPED.format(names="__all__", module=module, target="__getattr__, _, _ = ", submodules=())


LIBRARIES = {
    "scikit-image": Library(
        requirement="scikit-image==0.25.2",
        package="skimage",
        edits=LOADER,
        needed=("pytest==9.1.*", "numpydoc", "pooch", "matplotlib"),
        tests=tuple(f"skimage/{part}/tests" for part in ("draw", "exposure", "metrics", "transform", "util")),
    ),
    "librosa": Library(
        requirement="librosa==0.11.0",
        package="librosa",
        edits=LOADER,
        needed=("pytest==9.1.*", "pytest-mpl", "matplotlib", "resampy", "samplerate", "packaging"),
        tests=tuple(f"tests/test_{part}.py" for part in ("cache", "failures", "filters", "intervals", "notation")),
        fetched=("tests",),
    ),
    "mne": Library(
        requirement="mne==1.6.1",
        package="mne",
        edits=LOADER,
        needed=("pytest==8.*", "pytest-timeout", "numpy<2", "scipy<1.13", "matplotlib<3.9", "pyparsing<3.2"),
        tests=tuple(f"mne/{part}/tests" for part in ("utils", "stats", "io/array")),
    ),
    "scipy": Library(
        requirement="scipy==1.17.1",
        package="scipy",
        edits=(
            (
                "scipy/__init__.py",
                r"^def __getattr__\(name\):.*\Z",
                "import lazyguard as _lazyguard\n\n__getattr__, _, _ = _lazyguard.attach(__name__, submodules)\n",
            ),
        ),
        needed=("pytest==9.1.*", "hypothesis", "threadpoolctl", "pooch"),
        tests=("scipy/_lib/tests", "scipy/constants", "scipy/cluster", "scipy/fftpack", "scipy/interpolate"),
        how="by hand",
    ),
    "pydantic": Library(
        requirement="pydantic==2.14.4",
        package="pydantic",
        edits=(
            (
                "pydantic/__init__.py",
                r"^_getattr_migration = .*?$",
                r"\g<0>\n\nfrom importlib.util import resolve_name as _full\n"
                + MAPPED.format(
                    names="_dynamic_imports.keys() - {'dataclasses'}",
                    module="_full(_dynamic_imports[_name][1], _dynamic_imports[_name][0])",
                    target="_lazy, _, _ = ",
                    submodules="['dataclasses']",
                ),
            ),
            (
                "pydantic/__init__.py",
                r"^    package, module_name = dynamic_attr\n.*?(?=^def __dir__)",
                "    return _lazy(attr_name)\n\n\n",
            ),
        ),
        needed=(
            *("pytest==9.1.*", "pytest-mock", "pytest-benchmark", "pytest-examples", "pytest-run-parallel>=0.3.1"),
            *("dirty-equals", "faker", "jsonschema", "packaging", "pytz", "time-machine", "pytest-codspeed"),
        ),
        tests=("tests",),
        options=tuple(f"--ignore=tests/{each}" for each in ("test_docs.py", "benchmarks", "mypy", "pydantic_core")),
        fetched=("tests", "pyproject.toml"),
        how="by hand",
    ),
    "hyperspy": Library(
        requirement="hyperspy[speed,learning]==2.5.0",
        package="hyperspy",
        face="hyperspy.api",
        edits=(
            (
                "hyperspy/api.py",
                r"^def __getattr__\(name\):\n.*?(?=^    # Special case)",
                MAPPED.format(
                    names="__all__",
                    module="'hyperspy' + _import_mapping.get(_name, '')",
                    target="_lazy, _, _ = ",
                    submodules=(),
                )
                + "\n\ndef __getattr__(name):\n    if name in __all__:\n        return _lazy(name)\n",
            ),
            by_hand("hyperspy/signals.py", "EXTENSIONS_['signals'][_name]['module']"),
            by_hand("hyperspy/components1d.py", "_EXTENSIONS['components1D'][_name]['module']"),
            by_hand("hyperspy/components2d.py", "_EXTENSIONS['components2D'][_name]['module']"),
            by_hand("hyperspy/models/__init__.py", "'hyperspy.models.' + _import_mapping[_name]"),
            by_hand("hyperspy/data/__init__.py", "'hyperspy.data._' + _import_mapping[_name]"),
            by_hand("hyperspy/learn/__init__.py", "'hyperspy.learn.' + _import_mapping[_name]"),
            by_hand("hyperspy/signal_tools/__init__.py", "'hyperspy.signal_tools.' + _import_mapping[_name]"),
            by_hand("hyperspy/misc/array_tools.py", "'hyperspy.misc._array_tools'"),
        ),
        needed=("pytest==9.1.*", "pytest-mpl", "pytest-xdist", "pytest-rerunfailures", "pooch", "setuptools_scm"),
        tests=tuple(
            f"hyperspy/tests/{part}"
            for part in (
                "test_import.py",
                "test_extension_registry.py",
                "test_decorators.py",
                "axes",
                "utils/test_slugify.py",
            )
        ),
        how="by hand",
    ),
}


def ran(python: str, place: Path, library: Library) -> dict[str, str]:
    """Return what became of each of their tests."""
    if "pyproject.toml" not in library.fetched:
        (place / "pytest.ini").write_text("[pytest]\n")  # or else it is that of this repository
    env = {**os.environ, **OFFLINE, "PYTHONPATH": str(place), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    return their_tests(python, place, [*library.options, *library.tests], env)


def loads(home: Path, python: str, library: Library) -> dict[tuple[str, str], float]:
    """Return the processor's seconds of an import, and of an import and all names used, the least of some rounds."""
    least: dict[tuple[str, str], float] = {}
    for _ in range(ROUNDS):
        for state in STATES:
            for what, use in ("import", ""), ("all", USE.format(leave=library.leave)):
                program = TIMED.format(package=library.face or library.package, use=use)
                env = {**os.environ, "PYTHONPATH": str(home / state), "MPLBACKEND": "agg"}
                command = [python, "-W", "ignore", "-c", program]
                taken = float(subprocess.check_output(command, env=env, cwd=home, text=True).splitlines()[-1])
                least[state, what] = min(taken, least.get((state, what), taken))
    return least


def compared(name: str, library: Library) -> str:
    """Run both, say on stderr what differs, and return the line of the table."""
    home = HOME / name
    python = installed(home, [library.requirement, *library.needed])
    copied(home, python, [library.package], library.edits)
    for wanted in library.fetched:
        place = sources(home, python, library.requirement) / wanted
        for state in STATES:
            lay = shutil.copytree if place.is_dir() else shutil.copy
            lay(place, home / state / wanted)
    before, after = (ran(str(python), home / state, library) for state in STATES)
    for line in differing(before, after):
        print(line, file=sys.stderr)
    counts = [Counter(outcomes.values()) for outcomes in (before, after)]
    failed = [count["failure"] + count["error"] for count in counts]
    least = loads(home, str(python), library)
    cells = [
        library.requirement.replace("==", " "),
        library.how,
        *(f"{count['passed']:,} pass, {bad} fail" for count, bad in zip(counts, failed, strict=True)),
        *(f"{least['before', what] * 1000:.0f} -> {least['after', what] * 1000:.0f} ms" for what in ("import", "all")),
    ]
    return f"| {' | '.join(cells)} |"


def main(names: list[str]) -> None:
    print("| library | lazy by | tests before | tests after | import | import and all names |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for name in names or LIBRARIES:
        print(compared(name, LIBRARIES[name]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
