"""Circular imports are explained: the cycle, the name that is not bound yet, the line to move."""

from __future__ import annotations

import importlib
import traceback
import zipfile

import pytest

import lazyguard
from lazyguard._guards import circular_imports


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def failing(name: str, kind: type[BaseException] = ImportError) -> BaseException:
    with pytest.raises(kind) as caught, lazyguard.import_guard():
        importlib.import_module(name)
    return caught.value


def test_a_cycle_of_three_and_the_line_to_move(program):
    """The text has each module with its importing line, the missing name, where it is bound, and the line to move."""
    root = program(
        {
            "ring/__init__.py": "",
            "ring/a.py": "import json\nfrom ring import b\nqueue = [b]\n",
            "ring/b.py": "from ring.c import use\n",
            "ring/c.py": "\nfrom ring.a import queue as q\ndef use():\n    return 1\ndef other():\n    return q\n",
        }
    )
    error = failing("ring.a")
    assert type(error) is ImportError
    ring = f"""This is an import cycle:
  ring.a ({root}/ring/a.py:2) imports ring.b
  ring.b ({root}/ring/b.py:1) imports ring.c
  ring.c ({root}/ring/c.py:2) needs 'queue' of ring.a, which is not bound yet: {root}/ring/a.py:3 binds it, later
Move {root}/ring/c.py:2 into the functions that use 'q': {root}/ring/c.py:6."""
    assert told(error).count(ring) == 1


def test_a_name_that_the_body_needs(program):
    """A name that the body needs cannot be imported later, so the other module's import is the one to move."""
    root = program(
        {
            "two/__init__.py": "",
            "two/a.py": "import two.b\ndef f(): ...\nclass Base: ...\n",
            "two/b.py": "from two.a import Base\nclass Child(Base): ...\n",
        }
    )
    text = told(failing("two.a"))
    assert f"{root}/two/a.py:3 binds it, later" in text
    assert f"Move {root}/two/a.py:1 below {root}/two/a.py:3, or move what binds 'Base' above it." in text


def test_an_attribute_of_a_module_that_is_half_done(program):
    """`import a` and `a.name`, which is an AttributeError, is explained alike."""
    root = program(
        {
            "att/__init__.py": "",
            "att/a.py": "from att import b\nlimit = 3\n",
            "att/b.py": "import att.a as a\ndouble = 2 * a.limit\n",
        }
    )
    text = told(failing("att.a", AttributeError))
    assert f"att.b ({root}/att/b.py:2) needs 'limit' of att.a, which is not bound yet" in text
    assert f"Move {root}/att/a.py:1 below {root}/att/a.py:2" in text


def test_a_name_that_is_nowhere(program):
    """If the module binds no such name, the text says so, and proposes no line that would not help."""
    root = program(
        {
            "no/__init__.py": "",
            "no/a.py": "import no.b\n",
            "no/b.py": "from no.a import nothing\nprint(nothing)\n",
        }
    )
    text = told(failing("no.a"))
    assert "it binds no such name at module level" in text
    assert f"or move {root}/no/a.py:1 into what needs it" in text


def test_an_import_in_a_function_that_the_body_calls(program):
    """The cycle shows the line of the import, not that of the call."""
    root = program(
        {
            "fun/__init__.py": "",
            "fun/a.py": "def load():\n    import fun.b\nload()\nname = 1\n",
            "fun/b.py": "from fun.a import name\n",
        }
    )
    assert f"fun.a ({root}/fun/a.py:2) imports fun.b" in told(failing("fun.a"))


def test_a_guard_inside_the_ring(program):
    """The modules outside the guard belong to the cycle as well."""
    root = program(
        {
            "ins/__init__.py": "",
            "ins/a.py": "import lazyguard\nwith lazyguard.import_guard():\n    import ins.b\nname = 1\n",
            "ins/b.py": "from ins.a import name\n",
        }
    )
    with pytest.raises(ImportError) as caught:
        importlib.import_module("ins.a")
    assert f"ins.a ({root}/ins/a.py:3) imports ins.b" in told(caught.value)


def test_other_errors_are_left_alone(program):
    """A missing name, a missing module and an attribute of any other object get no note."""
    program({"plain.py": "x = 1\n", "user.py": "from plain import y\n"})
    for error in (failing("user"), failing("no_such_module"), AttributeError("x"), ImportError(), ValueError("x")):
        before = told(error)
        circular_imports.explain(error)
        assert told(error) == before
        assert "import cycle" not in before


def test_a_cycle_in_an_archive(tmp_path, monkeypatch):
    """Sources are read through the modules' loaders, so that a cycle in a zip archive is explained as any other."""
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("archived/__init__.py", "")
        files.writestr("archived/a.py", "import archived.b\nx = 1\n")
        files.writestr("archived/b.py", "from archived.a import x\nprint(x)\n")
    monkeypatch.syspath_prepend(str(archive))
    text = told(failing("archived.a"))
    assert f"{archive}/archived/a.py:2 binds it, later" in text
    assert f"Move {archive}/archived/a.py:1 below" in text


def test_it_is_said_once(program):
    """Nested guards, and an error that is explained again, add nothing more."""
    program({"tw/__init__.py": "", "tw/a.py": "import tw.b\nx = 1\n", "tw/b.py": "from tw.a import x\n"})
    with pytest.raises(ImportError) as caught, lazyguard.import_guard():
        with lazyguard.import_guard():
            importlib.import_module("tw.a")
    circular_imports.explain(caught.value)
    assert told(caught.value).count("This is an import cycle") == 1


def test_sources_that_cannot_be_read(program):
    """Without a source there is no explanation, and the error is unchanged."""
    root = program({"gone/__init__.py": "", "gone/a.py": "import gone.b\nx = 1\n"})
    (root / "gone/b.py").write_text(f"import os\nos.remove({str(root / 'gone/a.py')!r})\nfrom gone.a import x\n")
    text = told(failing("gone.a"))
    assert "partially initialized module" in text
    assert "import cycle" not in text
