"""Forks that find the dependencies loaded: they decide, and never say more than a fresh interpreter would."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.audit.test_interpreters import VERSIONS, interpreter

from lazyguard.audit import AuditInterrupted, ModuleReport, Report, audit, django, tiers
from lazyguard.audit.processes import zygote_process

if TYPE_CHECKING:
    from lazyguard.audit.processes.child_process import Trace

App = Callable[..., Path]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux only")


def forked(path: Path, *, timeout: float = 20.0, python: str = sys.executable, **options: object) -> Report:
    """Audits the package `core` with forks; what a busy machine does to times changes no tier."""
    return audit(
        ["core"], path=[path, path / "site-packages"], fork=True, timeout=timeout, slow=10.0, python=python, **options
    )  # type: ignore[arg-type]


def of(report: Report, name: str) -> ModuleReport:
    """Return the report on one module."""
    return next(module for module in report.modules if module.module == name)


def dependency(path: Path, **modules: str) -> None:
    """Writes modules that are not of the audited package."""
    for name, text in modules.items():
        (path / "site-packages" / f"{name}.py").write_text(text)


def test_what_starts_threads_only_where_it_may_is_loaded_before_forking(app: App) -> None:
    """Numerical libraries start one for each processor as they are loaded, unless their variables forbid it."""
    path = app(a="import numbers_in_c\n", b="import numbers_in_c\n")
    waits = "import threading\nthreading.Thread(target=threading.Event().wait, args=(20,), daemon=True).start()\n"
    body = "".join(f"    {line}\n" for line in waits.splitlines())
    dependency(path, numbers_in_c=f"import os\nif os.environ.get('OPENBLAS_NUM_THREADS') != '1':\n{body}")
    report = forked(path)
    assert (report.fresh_because, report.left_out) == (None, ())
    assert [module.tier for module in report.modules] == ["forked"] * 3


def test_a_directory_that_is_there_is_not_made(app: App, tmp_path: Path) -> None:
    """A package that makes sure of its directory has no side effect, and keeps no module below it from the forks."""
    made, missing = tmp_path / "made", tmp_path / "missing"
    text = f"import os, contextlib\nos.makedirs({str(made)!r}, exist_ok=True)\n"
    text += f"with contextlib.suppress(OSError): os.remove({str(missing)!r})\n"
    path = app(a="", b="")
    made.mkdir()
    (path / "core" / "__init__.py").write_text(text)
    report = forked(path)
    assert not [finding for module in report.modules for finding in module.findings]
    assert [module.tier for module in report.modules] == ["forked"] * 3
    made.rmdir()
    first = audit(["core"], path=path, fork=False, walk=False)
    assert [finding.kind for finding in first.modules[0].findings] == ["file-write"]


def test_a_fork_acquits_and_says_so(app: App) -> None:
    """ok, quick, no finding: `forked`, no repeats, and the dependency's cost is in the times and in the tree."""
    path = app(a="import costly\n", b="import core.a\n")
    dependency(
        path, costly="import time\nuntil = time.process_time() + 0.06\nwhile time.process_time() < until: pass\n"
    )
    report = forked(path)
    assert report.fresh_because is None
    assert {module.tier for module in report.modules} == {"forked"}
    assert all(module.repeats == 0 for module in report.modules)
    module = of(report, "core.b")
    assert module.seconds >= 0.05
    assert module.third_party_seconds >= 0.05
    assert [(each.module, each.parent) for each in module.imports if each.module in ("core.a", "costly")][-1][
        0
    ] == "costly"
    assert Report.from_dict(report.to_dict()) == report


def test_what_another_import_loads_is_not_to_be_seen(app: App) -> None:
    """A submodule that only another module imports is no attribute here, though the zygote has loaded it."""
    path = app(
        a="import xml.dom.minidom\n", b="import xml\nxml.dom\n", c="import sys\nassert 'xml' not in sys.modules\n"
    )
    report = forked(path)
    assert of(report, "core.b").verdict == "fails"
    assert of(report, "core.b").tier == "fresh"
    assert [of(report, name).tier for name in ("core.a", "core.c")] == ["forked", "forked"]


def test_what_is_not_ok_is_decided_fresh(app: App) -> None:
    """A fresh interpreter decides on a failure, an exit, a package that fails; what is below that fails as it does."""
    path = app(bad="import nosuch\n", leaves="raise SystemExit\n")
    (path / "core" / "sub").mkdir()
    (path / "core" / "sub" / "__init__.py").write_text("raise LookupError\n")
    (path / "core" / "sub" / "part.py").write_text("")
    report = forked(path)
    seen = {module.module: (module.verdict, module.tier) for module in report.modules}
    assert seen == {
        "core": ("ok", "forked"),
        "core.bad": ("fails", "fresh"),
        "core.leaves": ("exits", "fresh"),
        "core.sub": ("fails", "fresh"),
        "core.sub.part": ("fails", "forked"),
    }
    package, part = of(report, "core.sub"), of(report, "core.sub.part")
    assert (part.error, part.blame and part.blame.place) == (package.error, package.blame and package.blame.place)
    assert [len(cause.modules) for cause in report.causes if cause.error and cause.error.type == "LookupError"] == [2]


def test_who_fails_alike_is_imported_afresh_once(app: App) -> None:
    """Of those with one error on one line the first is; one with another text there is a case of its own."""
    asks = "import core.settings\ncore.settings.of({!r})\n"
    path = app(
        settings="def of(name):\n    raise LookupError(name)\n",
        a=asks.format("x"),
        b=asks.format("x"),
        c=asks.format("y"),
        d=asks.format("x"),
    )
    seen = {module.module: module for module in forked(path).modules}
    assert [seen[f"core.{name}"].tier for name in "abcd"] == ["fresh", "forked", "fresh", "forked"]
    assert {seen[f"core.{name}"].verdict for name in "abcd"} == {"fails"}
    assert seen["core.d"].error == seen["core.a"].error


def test_who_fails_alike_has_the_findings_of_the_fresh_import(app: App) -> None:
    """What was done on the way to the error is reported each; where it differs, so does the case."""
    path = app(
        tries="import os, subprocess\ndef go(name):\n    subprocess.run([name])\n    raise LookupError\n",
        a="import core.tries\ncore.tries.go('true')\n",
        b="import core.tries\ncore.tries.go('true')\n",
        c="import core.tries\ncore.tries.go('env')\n",
    )
    seen = {module.module: module for module in forked(path).modules}
    assert [seen[f"core.{name}"].tier for name in "abc"] == ["fresh", "forked", "fresh"]
    assert [[f.kind for f in seen[f"core.{name}"].findings] for name in "abc"] == [["subprocess"]] * 3


def test_a_side_effect_on_one_line_is_confirmed_once(app: App) -> None:
    """Also of a package, whose modules are forked all the same; who does something else is imported afresh too."""
    path = app(
        does="import subprocess\nsubprocess.run(['true'])\n",
        a="import core.does\n",
        b="import core.does\n",
        c="import core.sub.more\n",
    )
    (path / "core" / "sub").mkdir()
    (path / "core" / "sub" / "__init__.py").write_text("import core.does\n")
    (path / "core" / "sub" / "more.py").write_text("")
    (path / "core" / "sub" / "other.py").write_text("import subprocess\nsubprocess.run(['env'], stdout=-3)\n")
    report = forked(path)
    tiers_of = {module.module.removeprefix("core."): module.tier for module in report.modules}
    assert tiers_of.pop("core") == "forked"
    assert [name for name, tier in tiers_of.items() if tier == "fresh"] == ["a", "sub.other"]
    fresh = {each.module: each for each in audit(["core"], path=path, fork=False, slow=10.0, timeout=20.0).modules}
    for module in report.modules:
        assert set(module.findings) == set(fresh[module.module].findings)


def test_what_the_zygote_misses_too_is_not_installed(app: App) -> None:
    """Each of the optional drivers is named; none takes an interpreter of its own to know."""
    guard = "try:\n    import {0}\nexcept ImportError:\n    raise LookupError('{0} is not installed') from None\n"
    path = app(**{name: guard.format(f"driver_{name}") for name in "abcd"})
    modules = forked(path).modules[1:]
    assert [(module.verdict, module.tier, module.detail) for module in modules] == [
        ("not-installed", "forked", f"needs driver_{name}") for name in "abcd"
    ]


def test_a_failure_that_only_forks_have_convicts_no_module(app: App) -> None:
    """What fails alike in forks and passes in a fresh interpreter passes: each of them is imported afresh."""
    path = app(
        a="import core.looks\n",
        b="import core.looks\n",
        looks="import sys\nif 'zygote' in sys.orig_argv:\n    raise LookupError('in a fork')\n",
    )
    seen = {module.module: (module.verdict, module.tier) for module in forked(path).modules}
    assert seen == {"core": ("ok", "forked"), **dict.fromkeys(("core.a", "core.b", "core.looks"), ("ok", "fresh"))}


@pytest.mark.usefixtures("leaves_nothing")
def test_a_hang_in_a_fork_is_ended_and_named_by_a_fresh_child(app: App) -> None:
    """The fork has no more than `slow`; the line comes from the fresh child, and no process is left."""
    report = audit(["core"], path=app(a="import time\ntime.sleep(3600)\n"), fork=True, timeout=1.0, slow=0.5)
    module = of(report, "core.a")
    assert (module.verdict, module.tier) == ("hangs", "fresh")
    assert module.blame is not None
    assert module.blame.line == 2


UNSAFE = {
    "thread": (
        "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\n_thread.start_new_thread(lock.acquire, ())\n"
    ),
    "leaves a file": "import os\nkept = os.open(os.devnull, os.O_RDONLY)\n",
    "changes sys.path": "import sys\nsys.path.append('/nowhere')\n",
    "changes the environment": "import os\nos.environ['DEPENDENCY'] = '1'\n",
    "replaces textwrap.dedent": "import textwrap\ndef dedent(text): return text\ntextwrap.dedent = dedent\n",
    "warns": "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n",
    "subprocess.Popen": "import subprocess\nsubprocess.run(['true'])\n",
    "hangs or crashes": "import os\nif os.getppid() and 'zygote' in __import__('sys').orig_argv: os._exit(3)\n",
}


@pytest.mark.parametrize("reason", UNSAFE)
def test_a_dependency_that_a_fork_cannot_take_along_is_left_out(app: App, reason: str) -> None:
    """It is reported with its reason and imported by each child itself; the others are loaded all the same."""
    path = app(a="import bad\n", b="import good\n")
    dependency(path, bad=UNSAFE[reason], good="import textwrap\n")
    report = forked(path)
    assert [each for each in report.left_out if each.startswith("bad ") and reason in each], report.left_out
    assert report.fresh_because is None
    assert of(report, "core.b").tier == "forked"


def test_a_dependency_that_hangs_is_left_out(app: App) -> None:
    """The zygote is ended after the time limit and another one started without it."""
    path = app(a="import bad\n", b="")
    dependency(path, bad="import time\ntime.sleep(3600)\n")
    report = audit(["core"], path=[path, path / "site-packages"], fork=True, timeout=1.0, slow=0.5)
    assert any(each.startswith("bad hangs") for each in report.left_out)
    assert of(report, "core.b").tier == "forked"
    assert of(report, "core.a").verdict == "hangs"


def test_a_fork_whose_report_cannot_be_read_decides_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has found would be lost: a fresh interpreter imports the module, and has it."""

    def unread(trace: Trace, *given: Any, **options: Any) -> ModuleReport:
        if trace.module == "core.a" and trace.events and first:
            raise first.pop()
        return judge(trace, *given, **options)

    first, judge = [IndexError()], tiers.judge
    monkeypatch.setattr(tiers, "judge", unread)
    seen = of(forked(app(a="import subprocess\nsubprocess.run(['true'])\n")), "core.a")
    assert (seen.tier, [each.kind for each in seen.findings]) == ("fresh", ["subprocess"])
    assert not first


def test_a_package_that_something_else_stands_for_is_loaded_once(app: App) -> None:
    """What lets no attribute be deleted or set, as a proxy for a package in sys.modules, ends no zygote."""
    stands = "import sys\nclass Proxy:\n    def __init__(self, module): object.__setattr__(self, '_', module)\n"
    stands += "    def __getattribute__(self, name): return getattr(object.__getattribute__(self, '_'), name)\n"
    stands += "    def __setattr__(self, name, value): setattr(object.__getattribute__(self, '_'), name, value)\n"
    stands += "sys.modules[__name__] = Proxy(sys.modules[__name__])\n"
    path = app(a="import package.part\nassert package.part.VALUE\n", b="import package\nassert not package.part\n")
    dependency(path, placeholder="")
    (path / "site-packages" / "package").mkdir()
    (path / "site-packages" / "package" / "__init__.py").write_text(stands)
    (path / "site-packages" / "package" / "part.py").write_text("VALUE = 1\n")
    report = forked(path)
    assert (report.fresh_because, report.left_out) == (None, ())
    assert (of(report, "core.a").verdict, of(report, "core.a").tier) == ("ok", "forked")
    assert of(report, "core.b").verdict == "fails"


def test_a_dependency_that_works_only_from_within_a_circle_decides_nothing(app: App) -> None:
    """ring_b succeeds when ring_a was asked for first, and fails alone: no fork acquits who asks for it alone."""
    path = app(a="import ring_a\n", b="import ring_b\n")
    dependency(
        path,
        ring_a="x = 1\nimport ring_b\n",
        ring_b="import ring_a\nif not ring_a.__spec__._initializing: raise LookupError\n",
    )
    assert (of(forked(path), "core.b").verdict, of(forked(path), "core.a").verdict) == ("fails", "ok")


def test_a_circle_that_a_dependency_asks_for_makes_no_other_doubtful(app: App) -> None:
    """What the zygote itself has shown while it was loading says nothing of what a child asks for."""
    path = app(a="import ring_a\n", b="import zeta\n", c="")
    dependency(path, ring_a="import ring_b\n", ring_b="import ring_a\n", zeta="import ring_b\n")
    report = forked(path)
    assert [of(report, f"core.{name}").tier for name in "abc"] == ["forked", "fresh", "forked"]


def test_modules_that_no_import_has_asked_for_come_with_what_made_them(app: App) -> None:
    """As extension modules make some of their own: they are whole wherever what made them is asked for."""
    path = app(
        a="import binding\nassert binding.LIBRARY.part.VALUE\n", b="import sys\nassert '_made' not in sys.modules\n"
    )
    dependency(
        path,
        binding=(
            "import sys, types\nLIBRARY = sys.modules['_made'] = types.ModuleType('_made')\n"
            "LIBRARY.part = sys.modules['_made.part'] = types.ModuleType('_made.part')\nLIBRARY.part.VALUE = 1\n"
        ),
    )
    assert {(module.verdict, module.tier) for module in forked(path).modules} == {("ok", "forked")}


def test_exit_functions_of_dependencies_run_where_they_were_imported(app: App, tmp_path: Path) -> None:
    """They are taken along: once in each child that asks for the dependency, never in another."""
    mark = tmp_path / "mark"
    path = app(a="import leaving\n", b="import later\n", c="")
    leaving = f"import atexit, os, sys\natexit.register(lambda: open({str(mark)!r}, 'a').write('left '))\n"
    dependency(path, leaving=leaving, later="import leaving\n")
    report = forked(path)
    assert {(module.verdict, module.tier) for module in report.modules} == {("ok", "forked")}
    assert (report.left_out, mark.read_text()) == ((), "left left ")


def test_first_party_code_is_not_run_by_the_zygote(app: App, tmp_path: Path) -> None:
    """A dependency that imports the program back is left out; each module's body ran once a child."""
    path = app(a="import plugin\n", b="")
    mark = tmp_path / "mark"
    (path / "core" / "__init__.py").write_text(f"import sys\nopen({str(mark)!r}, 'a').write(sys.argv[0])\n")
    dependency(path, plugin="import core.b\n")
    report = forked(path)
    assert {module.verdict for module in report.modules} == {"ok"}
    assert not [each for each in report.left_out if each.startswith("core")]


KILLER = "import os, signal\nif 'zygote' in __import__('sys').orig_argv: os.kill(os.getppid(), signal.SIGKILL)\n"


@pytest.mark.usefixtures("leaves_nothing")
def test_a_zygote_that_is_killed_is_done_without(app: App) -> None:
    """The rest is imported fresh, the report says why, and every module has its verdict."""
    report = forked(app(a=KILLER, b="", c=""), jobs=1)
    assert report.fresh_because is not None
    assert f"an interpreter for each module takes longer: {report.fresh_because}" in str(report.notes)
    assert [module.verdict for module in report.modules] == ["ok"] * 4
    assert of(report, "core.c").tier == "fresh"


@pytest.mark.usefixtures("leaves_nothing")
def test_an_interrupt_ends_forks_and_zygote(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT while a fork runs: the report so far, no process and no directory left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupt(done: int, total: int, module: ModuleReport) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(AuditInterrupted) as caught:
        forked(app(a="import time\ntime.sleep(3600)\n"), progress=interrupt, jobs=1)
    assert [module.module for module in caught.value.report.modules] == ["core"]
    assert [entry for entry in os.listdir(tmp_path) if entry.startswith("lazyguard-")] == []


def test_processes_of_a_fork_are_found(app: App) -> None:
    """A child's child, also one that was forked and left its session, is ended and reported, by the fresh import."""
    path = app(
        a="import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork(): time.sleep(99)\n    os._exit(0)\n"
    )
    module = of(forked(path), "core.a")
    assert (module.verdict, module.tier) == ("leaves-children", "fresh")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_version_can_be_forked(app: App, version: str) -> None:
    """Nothing is installed there; the modules are acquitted by forks on each version."""
    python = sys.executable if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here; LAZYGUARD_PYTHONS can name one")
    path = app(a="import json, logging, xml.dom.minidom\n", b="import asyncio, core.a\n", c="import xml\nxml.dom\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    report = forked(path, python=python, env=environment)
    seen = {module.module: (module.verdict, module.tier) for module in report.modules}
    assert report.fresh_because is None, report.fresh_because
    assert seen == {
        "core": ("ok", "forked"),
        "core.a": ("ok", "forked"),
        "core.b": ("ok", "forked"),
        "core.c": ("fails", "fresh"),
    }, report.left_out


def test_forks_find_what_modules_change_of_the_process(zoo: Path) -> None:
    """The same as fresh interpreters: what belongs to dependencies is loaded already there, and no act of a module."""
    names = ["zoo.ok_changing", "zoo.plain"]
    seen = [
        of(audit(names, path=zoo, walk=False, fork=fork, timeout=20.0, slow=10.0), names[0]) for fork in (True, False)
    ]
    assert [each.tier for each in seen] == ["forked", "fresh"]
    assert len(seen[0].findings) == 12
    assert seen[0].findings == seen[1].findings
    assert all(each.memory for each in seen)


def test_what_a_held_package_has_forked_takes_no_time_of_the_next(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each module below a package that was imported once keeps its findings, however long the forks before it took."""
    names = [f"m{number}" for number in range(4)]
    path = app(**{each: f"import core.{each}_other\n" for each in names})
    for each in names:
        (path / "core" / f"{each}_other.py").write_text(f"import core.{each}\n")
    # A clock that moves at each look: on a busy machine any two of them may lie this far apart.
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "steps = itertools.count(time.perf_counter(), 0.02)\n"
        "time.perf_counter = lambda: next(steps)\n"
    )
    held: list[tuple[str, bool]] = []

    def hold(self: zygote_process.Zygote, package: str, plain: Any = zygote_process.Zygote.hold) -> bool:
        held.append((package, plain(self, package)))
        return held[-1][1]

    monkeypatch.setattr(zygote_process.Zygote, "hold", hold)
    report = forked(path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert held == [("core", True)]
    assert {module.tier for module in report.modules} == {"forked"}
    assert {module.module: [each.kind for each in module.findings] for module in report.modules} == {
        "core": [],
        **{f"core.{each}{other}": ["circular-import"] for each in names for other in ("", "_other")},
    }


@pytest.mark.parametrize(("mode", "tier"), [("a", "forked"), ("w", "fresh")])
def test_a_setup_may_open_a_log(app: App, tmp_path: Path, mode: str, tier: str) -> None:
    """What is only appended to is not shared by forks: each writes at the end. Of another file they share the place."""
    setup = f"import builtins\nbuiltins.kept = open({str(tmp_path / 'log')!r}, {mode!r})"
    report = forked(app(a=""), setup=setup)
    assert of(report, "core.a").tier == tier
    assert (report.fresh_because is None) == (tier == "forked")


def test_a_django_project_may_ask_its_database_at_the_setup(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed before anything is forked."""
    pytest.importorskip("django", reason="the group `integration` has it")
    databases = "{'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}"
    path = app(
        settings=f"INSTALLED_APPS = ['core.apps.Core']\nSECRET_KEY = 'x'\nDATABASES = {databases}\n", apps=ASKING
    )
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "core.settings")
    monkeypatch.chdir(path)
    report = forked(path, setup=django.setup([str(path)]))
    assert report.fresh_because is None
    assert of(report, "core.apps").tier == "forked"


ASKING = """
from django.apps import AppConfig
class Core(AppConfig):
    name = "core"
    def ready(self):
        from django.db import connection
        connection.ensure_connection()
"""


def test_a_setup_that_enters_a_circle_elsewhere_can_be_forked(app: App) -> None:
    """The setup loads the dependencies in its own order, as in a fresh interpreter; nothing is loaded before it."""
    path = app(a="import first\n", b="import second\n")
    dependency(path, first="import second\n", second="import first\nfirst.__name__\n")
    report = forked(path, setup="import second")
    assert (report.fresh_because, report.left_out) == (None, ())
    assert {module.tier for module in report.modules if module.module != "(setup)"} == {"forked"}
