"""Packages written for lazy_loader, with lazyguard in its place: copies of those installed, one line changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lazyguard

IMPORT = re.compile(r"^import lazy_loader as (\w+)", re.MULTILINE)

# How each is used: an expression of what has to be right, after the imports that it needs.
PACKAGES = {
    "skimage": (
        "import skimage, numpy",
        "[callable(skimage.morphology.max_tree), int(skimage.measure.label(numpy.eye(3, dtype=int)).max()),"
        " round(float(skimage.filters.gaussian(numpy.ones((3, 3))).sum()), 6), 'measure' in dir(skimage)]",
        [True, 1, 9.0, True],
    ),
    "librosa": (
        "import librosa, librosa.core.audio",
        "[float(librosa.hz_to_midi(440.0)), 'chroma_stft' in librosa.feature.__all__,"
        " type(librosa.core.audio.resampy).__name__ != 'module', callable(librosa.util.normalize)]",
        [69.0, True, True, True],
    ),
    "mne": (
        "import mne",
        "[mne.create_info(['a'], 100.0, 'eeg')['sfreq'], callable(mne.io.RawArray), 'viz' in dir(mne)]",
        [100.0, True, True],
    ),
}


def switch(name: str, directory: Path) -> int:
    """Copy an installed package, let its modules import lazyguard for lazy_loader, and return how many do."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{name} is not installed (dependency group lazy-loader-users)")
    shutil.copytree(
        found.submodule_search_locations[0],
        directory / name,
        ignore=shutil.ignore_patterns("tests", "__pycache__"),
    )
    changed = 0
    for file in (directory / name).rglob("*.py"):
        before = file.read_text(encoding="utf-8")
        after = IMPORT.sub(r"import lazyguard as \1", before)
        if after != before:
            file.write_text(after, encoding="utf-8")
            changed += 1
    return changed


def run(program: str, directory: Path, **environment: str) -> object:
    """Run a program without lazy_loader, the copies first on its path; return what it prints, as JSON."""
    paths = [str(directory), str(Path(lazyguard.__file__).parents[1]), *filter(None, sys.path)]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['lazy_loader'] = None\n{program}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PACKAGES)
def test_it_works_unchanged(name, tmp_path):
    """The package is imported, used, and lists its names, with no other line of it changed."""
    assert switch(name, tmp_path) > 0
    imports, expression, expected = PACKAGES[name]
    program = (
        f"{imports}\nimport json, lazyguard\n"
        f"assert {name}.__file__.startswith({str(tmp_path)!r}), {name}.__file__\n"
        f"found = {expression}\n"
        f"assert [check for check in lazyguard.health().checks if check.name == {name!r} and check.counts[1]]\n"
        "print(json.dumps(found))"
    )
    assert run(program, tmp_path) == expected


def test_all_at_once(tmp_path):
    """EAGER_IMPORT resolves every name of the package while it is imported, as lazy_loader does."""
    switch("skimage", tmp_path)
    program = (
        "import json, lazyguard, skimage.measure\n"
        "checks = {check.name: check.counts for check in lazyguard.health().checks}\n"
        "print(json.dumps(checks['skimage.measure']))"
    )
    resolved, total = run(program, tmp_path, EAGER_IMPORT="1")
    assert resolved == total > 0


def test_the_same_names(tmp_path):
    """`__all__` of each of its packages is what lazy_loader gives; `__dir__` has at least those names."""
    pytest.importorskip("lazy_loader")
    switch("skimage", tmp_path)
    program = (
        "import json, pkgutil, importlib, lazy_loader, lazyguard, os, skimage\n"
        "wrong = []\n"
        "for path in [skimage.__path__[0], *(os.path.join(skimage.__path__[0], d) for d in sorted(os.listdir("
        "skimage.__path__[0])))]:\n"
        "    stub = os.path.join(path, '__init__.pyi')\n"
        "    if os.path.exists(stub):\n"
        "        name = 'skimage' if path == skimage.__path__[0] else 'skimage.' + os.path.basename(path)\n"
        "        theirs = lazy_loader.attach_stub(name, stub)\n"
        "        ours = lazyguard.attach_stub(name, stub)\n"
        "        if theirs[2] != ours[2] or not set(theirs[1]()) <= set(ours[1]()):\n"
        "            wrong.append([name, theirs[2], ours[2]])\n"
        "print(json.dumps(wrong))"
    )
    assert run(f"del sys.modules['lazy_loader']\n{program}", tmp_path) == []
