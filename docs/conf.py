"""How Sphinx builds the documentation; nothing here needs the network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ParamSpec, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import lazyguard
from lazyguard import _typing

# lazyguard does not load typing, and has None in the place of its type variables.
_typing.T, _typing.P = TypeVar("T"), ParamSpec("P")  # type: ignore[misc, assignment]

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
