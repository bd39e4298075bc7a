"""The maps are right: each file that the architecture and the guide for contributors name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lazyguard

ROOT = Path(__file__).parents[2]
PACKAGE = Path(lazyguard.__file__).parent
ARCHITECTURE = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w./]+(?:\.(?:py|md|js|json|yml|toml)|/))`")


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(ARCHITECTURE))))
def test_each_path_of_the_architecture_exists(name):
    """A file or folder that the page names lies in the package, or in the project."""
    assert (PACKAGE / name).exists() or (ROOT / name).exists()


@pytest.mark.parametrize("name", sorted(name for name in set(NAMED.findall(CONTRIBUTING)) if "NAME" not in name))
def test_each_path_of_the_guide_for_contributors_exists(name):
    """A file or folder that the guide names lies in the project; one without a folder may be anywhere in it."""
    assert (ROOT / name).exists() or ("/" not in name and any((ROOT / "src").rglob(name)))


def test_the_architecture_names_each_folder_and_each_file_of_the_library():
    """Nothing of the package is missing on the map: no folder, and no file of its private folders."""
    folders = [each for each in PACKAGE.iterdir() if each.is_dir() and each.name != "__pycache__"]
    files = [file for folder in PACKAGE.glob("_[!_]*") for file in folder.glob("[!_]*.py")]
    assert len(files) > 50
    assert not [each.name for each in folders if f"`{each.name}/`" not in ARCHITECTURE]
    assert not [each for each in files if f"`{each.relative_to(PACKAGE)}`" not in ARCHITECTURE]
