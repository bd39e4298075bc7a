"""A source of the audited program: its text, and its tree as this interpreter reads it.

Invariants: a source that is away has no text; one that is broken, in no encoding that it declares, or nested deeper
than the parser goes has no tree. Neither is an error: the interpreter of the target has the word on it.
"""

from __future__ import annotations

import ast
from functools import lru_cache


@lru_cache(maxsize=4096)
def text(file: str) -> str:
    """Returns the text of a source, in UTF-8 as far as it is."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def tree(file: str) -> ast.Module:
    """Returns a source's tree; an empty one where it has none. MemoryError is the parser's word for: too deep."""
    try:
        with open(file, "rb") as stream:
            return ast.parse(stream.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])
