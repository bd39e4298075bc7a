"""How Sphinx builds the documentation; nothing here needs the network."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import lazyguard
import lazyguard._base

# lazyguard does not load typing, and has None in the place of its type variables.
lazyguard._base.T, lazyguard._base.P = TypeVar("T"), ParamSpec("P")  # type: ignore[misc, assignment]

project = "lazyguard"
author = "The lazyguard authors"
project_copyright = "The lazyguard authors"
version = release = lazyguard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"lazyguard {version}"
html_static_path: list[str] = []

# Docstrings write code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# The tests write these blocks to files; a reader is to see which ones, where the text does not say it.
FILE = re.compile(
    r"^<!-- file: (?P<name>.+?) -->\n(?P<fence>```+)(?P<kind>\S*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)


def with_its_name(block: re.Match[str]) -> str:
    """Return the block with the file's name as its caption; a sentence where the file is empty."""
    said = block.string[: block.start()].rstrip().rsplit("\n\n", 1)[-1]
    if not block["text"].strip():
        return "" if f"`{block['name']}`" in said else f"`{block['name']}` is empty."
    if f"`{block['name']}`" in said:
        return block[0]
    return '{fence}{{code-block}} {kind}\n:caption: "`{name}`"\n\n{text}{fence}'.format(**block.groupdict())


def name_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the blocks of a page their names before it is parsed."""
    source[0] = FILE.sub(with_its_name, source[0])


def setup(app: Sphinx) -> None:
    """Connect what is here."""
    app.connect("source-read", name_files)
