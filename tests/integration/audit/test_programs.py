"""Programs as they are: several roots, namespaces, what is left out, and what a framework wants done first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lazyguard import cli
from lazyguard.audit import ModuleReport, audit

App = Callable[..., Path]


def write(path: Path, **files: str) -> Path:
    """Writes files, with `__` for a slash, below a directory."""
    for name, text in files.items():
        file = path / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def seen(report: object) -> dict[str, ModuleReport]:
    return {each.module: each for each in report.modules}  # type: ignore[attr-defined]


def test_what_lies_below_any_root_is_first_party(tmp_path: Path) -> None:
    """Whichever root a target is in, the line to blame can be in another; each has its place on disk."""
    write(tmp_path / "src", core="import common.cache")
    (tmp_path / "apps" / "common").mkdir(parents=True)
    write(tmp_path / "apps" / "common", cache="x = 1\nraise ConnectionError")
    report = audit(["core"], path=[tmp_path / "src", tmp_path / "apps"])

    blame = seen(report)["core"].blame
    assert blame is not None
    assert (blame.file, blame.line) == ("common/cache.py", 2)
    assert [file for _, file in report.on_disk(blame.file)] == [os.path.realpath(tmp_path / "apps/common/cache.py")]


def test_a_namespace_below_a_package_is_walked_and_tests_are_named(app: App) -> None:
    path = app(conftest="raise Exception", test_a="raise Exception", good="")
    write(path / "core" / "jobs" / "deep", nightly="raise RuntimeError")
    write(path / "core" / "tests", helper="raise Exception")
    write(path / "core" / "old", thing="raise Exception")
    report = audit(["core"], path=path, exclude=["*.old", "core.odl"])

    assert "exclude core.odl fits no module: correct it, or take it out" in report.notes
    assert "*.old" not in str(report.notes)
    assert {name for name in seen(report) if name != "core"} == {"core.good", "core.jobs.deep.nightly"}
    assert set(report.passed_over) == {"core.conftest", "core.test_a", "core.tests.helper", "core.old.thing"}
    assert "core.tests.helper" in seen(audit(["core.tests"], path=path))


@pytest.mark.parametrize("fork", [True, False])
def test_the_setup_runs_first_and_has_its_own_report(app: App, fork: bool) -> None:
    """Its time and its side effects are told once, and what it has loaded is told as such."""
    path = app(models="import core.ready\nassert core.ready.done", ready="done = []", boot="from core import models")
    setup = "import core.ready, time\ncore.ready.done.append(1)\ntime.sleep(0.3)\nimport core.models"
    report = audit(["core"], path=path, setup=setup, slow=0.25, fork=fork)
    modules = seen(report)

    assert [(name, each.verdict) for name, each in modules.items() if each.verdict != "ok"] == []
    assert report.modules[0].module == "(setup)"
    assert report.modules[0].seconds >= 0.3
    assert "already loaded" in str(modules["core.models"].detail)
    assert modules["core.boot"].detail is None
    assert modules["core.boot"].seconds < 0.25


@pytest.mark.parametrize(("setup", "verdict"), [("while True: pass", "hangs"), ("import nosuch", "fails")])
def test_a_setup_that_does_not_succeed_is_the_one_result(app: App, setup: str, verdict: str) -> None:
    report = audit(["core"], path=app(a=""), setup=setup, timeout=1.0)

    assert [(each.module, each.verdict) for each in report.modules] == [("(setup)", verdict)]
    assert report.pending == ("core", "core.a")
    assert report.found


MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")\n'
DJANGO = """
import os, sys
from types import SimpleNamespace
sys.modules["django.db"] = SimpleNamespace(connections=SimpleNamespace(close_all=lambda: None))
ready = []
class AppRegistryNotReady(Exception): pass
def setup():
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "site1.settings"
    ready.append(True)
"""


def test_a_django_project_wants_one_option(app: App, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    """The first audit names it, and with it all is ok: here with a module in the place of Django itself."""
    path = app(models="import django\nif not django.ready: raise django.AppRegistryNotReady")
    (path / "django.py").write_text(DJANGO)
    (path / "manage.py").write_text(MANAGE)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    command = ["audit", "core", "--path", str(path), "--quiet", "--plain"]

    assert cli.main(command) == 1
    assert "add --django" in capsys.readouterr().out
    assert cli.main([*command, "--django"]) == 0


def test_a_django_project_from_the_index_wants_its_settings_named(app: App) -> None:
    """It has no manage.py, which would name them."""
    path = app(models="import django\nif not django.ready: raise django.AppRegistryNotReady")
    (path / "django.py").write_text(DJANGO)
    (note,) = audit(["core"], path=path).notes
    assert note.endswith(", and name its settings in $DJANGO_SETTINGS_MODULE")


def test_the_configuration_has_roots_exclusions_and_the_setup(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "one", core="import other")
    write(tmp_path / "two", other="import builtins\nassert builtins.ready", legacy="raise Exception")
    (tmp_path / "pyproject.toml").write_text(
        """[tool.lazyguard.audit]
targets = ["core", "other", "legacy"]
path = ["one", "two"]
exclude = ["legacy"]
setup = "import builtins; builtins.ready = True"
"""
    )
    monkeypatch.chdir(tmp_path)

    assert cli.main(["audit", "--quiet", "--plain"]) == 0
    assert "1 left out" in capsys.readouterr().out
