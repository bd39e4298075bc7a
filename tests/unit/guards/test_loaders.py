"""`AliasLoader` makes one module out of two names, and leaves its attributes as they were."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from lazyguard._guards import hooks


def test_two_aliases_made_at_a_time():
    """However the steps of two aliases interleave, the module ends with its own spec."""
    own = json.__spec__
    specs = [hooks.spec_of(name, "json", "somewhere") for name in ("one", "two")]
    modules = [importlib.util.module_from_spec(spec) for spec in specs]
    for spec, module in zip(specs, modules, strict=True):
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    for name in ("one", "two"):
        sys.modules.pop(name, None)
    assert modules == [json, json]
    assert json.__spec__ is own


def test_an_original_that_fails_while_it_is_waited_for(monkeypatch):
    """The entry that the second name had during the import is removed."""

    def fail(name: str) -> None:
        assert sys.modules["one"] is json
        raise ValueError(name)

    monkeypatch.setattr(hooks, "__import__", fail, raising=False)
    with pytest.raises(ValueError, match="json"):
        importlib.util.module_from_spec(hooks.spec_of("one", "json", "somewhere"))
    assert "one" not in sys.modules


def test_an_original_that_cannot_be_imported():
    """The original's error passes, and the second name is not left behind."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        importlib.util.module_from_spec(hooks.spec_of("one", "no_such_module", "somewhere"))
    assert "one" not in sys.modules
