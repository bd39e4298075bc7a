"""What a child measures and how it treats the code it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lazyguard.audit import AuditInterrupted, ModuleReport, audit
from lazyguard.audit.processes.programs import is_alive
from lazyguard.errors import ConfigurationError

App = Callable[..., Path]


def only(module: str, path: Path, **options: object) -> ModuleReport:
    """Audits one module alone."""
    report = audit([module], path=path, walk=False, jobs=1, **options)  # type: ignore[arg-type]
    return report.modules[0]


SLOW_ONCE = """
import os, time
if not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    time.sleep(0.7)
"""


def test_the_child_adds_no_module_to_what_an_interpreter_has(app: App) -> None:
    """Whatever the target needs is the target's cost: the child leaves nothing in sys.modules but built-in modules."""
    names = "import sys; print(' '.join(sorted(sys.modules)))"
    bare = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout.split()
    text = f"import sys\nraise RuntimeError(' '.join(sorted(set(sys.modules) - set({bare!r}))))\n"
    error = only("core.loaded", app(loaded=text)).error
    assert error is not None
    assert set(error.message.split()) <= {"core", "core.loaded", "faulthandler", "time", "_thread"}


def test_to_wait_for_a_program_is_no_sleep(app: App) -> None:
    """Whether subprocess has to sleep is chance: what it started is the finding, and what sleeps besides."""
    runs = "import subprocess, time\nsubprocess.run(['sleep', '0.05'], timeout=30)\ntime.sleep(0.001)\n"
    found = only("core.runs", app(runs=runs), slow=10.0, timeout=20.0).findings
    assert [(each.kind, each.line) for each in found] == [("subprocess", 2), ("sleep", 3)]


def test_the_target_sees_what_it_sees_without_us(app: App, tmp_path: Path) -> None:
    """sys.path begins with the audited path and has none of ours, argv is that of -c, __main__ is empty, stdin is at
    its end, the first free descriptor is 3, the directory is the caller's."""
    text = f"""
import __main__, os, sys
assert sys.path[0] == os.path.dirname(os.path.dirname(os.path.abspath(__file__))), sys.path
assert not any(path.endswith("lazyguard/audit") for path in sys.path), sys.path
assert sys.argv == ["-c"], sys.argv
assert not hasattr(__main__, "__file__") and not hasattr(__main__, "main"), vars(__main__)
assert sys.stdin.read() == ""
assert os.open(os.devnull, os.O_RDONLY) == 3
assert os.getcwd() == {os.getcwd()!r}, os.getcwd()
"""
    module = only("core.sees", app(sees=text))
    assert module.verdict == "ok", module


def test_warnings_and_importers_see_the_importing_module(app: App) -> None:
    """The child's own frame is skipped like those of the import system: stacklevel=2 is the line that imports."""
    path = app(
        old="import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n", user="import core.old\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:core.user"}
    module = only("core.user", path, env=environment)
    assert module.verdict == "fails"
    assert module.error is not None
    assert module.error.type == "DeprecationWarning"


def test_a_syntax_error_is_blamed_on_its_own_line(app: App) -> None:
    """The broken file has no frame; the error names it."""
    module = only("core.user", app(broken="x = 1\ny = = 2\n", user="import core.broken\n"))
    assert module.verdict == "fails"
    assert module.blame is not None
    assert (module.blame.file, module.blame.line) == ("core/broken.py", 2)


def test_a_failed_import_tried_again_is_a_double_import(app: App) -> None:
    """A body that is executed anew after it failed is reported, with both lines."""
    model = "import sys\nif not hasattr(sys, 'again'):\n    sys.again = True\n    raise RuntimeError\n"
    user = "try:\n    import core.model\nexcept RuntimeError:\n    import core.model\n"
    (finding,) = only("core.user", app(model=model, user=user)).findings
    assert (finding.kind, finding.file, finding.line) == ("double-import", "core/user.py", 4)
    assert finding.also is not None
    assert finding.also.line == 2


def test_a_descriptor_that_is_inherited_holds_nothing_up(app: App) -> None:
    """A grandchild that keeps every descriptor it can get does not delay the verdict of an import that is done."""
    text = "import os, time\nif os.fork() == 0:\n    time.sleep(3600)\n"
    module = only("core.forks", app(forks=text), timeout=30.0)
    assert module.verdict == "leaves-children"


BLIND = """
import os
os.closerange(3, 4096)
file = os.open({mark!r}, os.O_CREAT | os.O_WRONLY)
copies = [os.dup2(file, number) for number in (*range(4, 20), *range(890, 920))]
import core.other
assert os.fstat(file).st_size == 0
{then}
"""


def test_files_in_the_place_of_closed_descriptors_are_not_written_to(app: App, tmp_path: Path) -> None:
    """A target that closes everything and opens its own files under the same numbers finds nothing of ours in them."""
    module = only("core.blind", app(blind=BLIND.format(mark=str(tmp_path / "mark"), then=""), other=""))
    assert module.verdict == "ok", module


def test_sampling_goes_on_after_the_descriptors_were_closed(app: App, tmp_path: Path) -> None:
    """The first event after the loss opens the dump anew: the line that hangs is known."""
    text = BLIND.format(mark=str(tmp_path / "mark"), then="import time; time.sleep(3600)")
    module = only("core.blind", app(blind=text, other=""), timeout=1.0)
    assert module.verdict == "hangs"
    assert module.blame is not None
    assert (module.blame.file, module.blame.line) == ("core/blind.py", 8)


def test_a_process_without_any_trace_of_its_origin_is_ended(app: App, tmp_path: Path) -> None:
    """A session and an environment of its own do not save it: it descends from the child while that is alive."""
    text = "import subprocess\nstranger = subprocess.Popen(['sleep', '3600'], env={}, start_new_session=True)\n"
    text += f"with open({str(tmp_path / 'number')!r}, 'w') as file:\n    file.write(str(stranger.pid))\n"
    assert only("core.stranger", app(stranger=text)).verdict == "leaves-children"
    assert not is_alive(int((tmp_path / "number").read_text()))


def test_an_exit_function_that_hangs_is_reported(app: App) -> None:
    """The import is over, the process is not: cannot-exit, on the line that keeps it."""
    text = "import atexit, time\n\n\ndef bye():\n    time.sleep(3600)\n\n\natexit.register(bye)\n"
    module = only("core.bye", app(bye=text))
    assert module.verdict == "cannot-exit"
    assert module.blame is not None
    assert (module.blame.file, module.blame.line) == ("core/bye.py", 5)


def test_patched_functions_do_not_reach_the_child(app: App) -> None:
    """Time frozen and os patched by the target change nothing in the report."""
    text = "import os, time\ntime.perf_counter = time.monotonic = lambda: 0.0\n"
    text += "os.write = os.getpid = os.fstat = os.read = None\nimport core.other\n"
    module = only("core.frozen", app(frozen=text, other=""))
    assert module.verdict == "ok"
    assert 0 < module.seconds < 5


def test_an_environment_below_the_path_is_not_first_party(app: App) -> None:
    """A package installed below the audited path is third-party, and named as it is imported."""
    path = app(user="import sys\nsys.path.append(__file__[: -len('user.py')] + 'site-packages')\nimport wheel_like\n")
    (path / "core" / "site-packages").mkdir()
    (path / "core" / "site-packages" / "wheel_like.py").write_text("import time\ntime.sleep(3600)\n")
    module = only("core.user", path, timeout=0.5)
    assert module.blame is not None
    assert (module.blame.file, module.blame.line) == ("core/user.py", 3)


def test_the_fastest_of_several_runs_counts(app: App, tmp_path: Path) -> None:
    """repeat: a first import that has to fill a cache is not the measure."""
    mark = tmp_path / "mark"
    text = SLOW_ONCE.format(mark=str(mark))
    module = only("core.cold", app(cold=text), repeat=2)
    assert module.verdict == "ok"
    assert module.seconds < 0.5


def test_a_slow_verdict_from_among_others_is_taken_again_alone(app: App, tmp_path: Path) -> None:
    """With several children at a time a time just over the limit is measured anew, by itself."""
    mark = tmp_path / "mark"
    text = SLOW_ONCE.format(mark=str(mark))
    report = audit(["core.cold"], path=app(cold=text), walk=False, jobs=2)
    assert report.modules[0].verdict == "ok"


def test_byte_code_is_written_first_unless_unwanted(app: App) -> None:
    """The tree is compiled before anything is timed; PYTHONDONTWRITEBYTECODE keeps it clean."""
    path = app(plain="", broken="y = = 2\n")
    only("core.plain", path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert not (path / "core" / "__pycache__").exists()
    only("core", path, env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"})
    assert any(file.name.startswith("plain.") for file in (path / "core" / "__pycache__").iterdir())


def test_progress_is_reported_after_each_module(app: App) -> None:
    """done, total and the module's report, once a module."""
    reported: list[tuple[int, int, str]] = []
    audit(
        ["core"],
        path=app(a="", b=""),
        jobs=1,
        progress=lambda done, total, module: reported.append((done, total, module.module)),
    )
    assert reported == [(1, 3, "core"), (2, 3, "core.a"), (3, 3, "core.b")]


@pytest.mark.usefixtures("leaves_nothing")
def test_a_progress_that_raises_leaves_no_child(app: App) -> None:
    """An exception from the caller's code comes out, after every child was ended."""

    def refuse(done: int, total: int, module: ModuleReport) -> None:
        raise LookupError("not today")

    sleeps = "import time\ntime.sleep(3600)\n"
    with pytest.raises(LookupError):
        audit(["core"], path=app(a=sleeps, b=sleeps), jobs=3, timeout=30, progress=refuse)


def test_it_runs_beside_the_main_thread(app: App) -> None:
    """In another thread no signal handler is touched, and everything else is the same."""
    path = app(a="")
    found: list[ModuleReport] = []
    thread = threading.Thread(target=lambda: found.append(only("core.a", path)))
    thread.start()
    thread.join()
    assert found[0].verdict == "ok"


@pytest.mark.usefixtures("leaves_nothing")
def test_an_interrupted_audit_has_what_was_known(app: App) -> None:
    """SIGINT while children hang: a KeyboardInterrupt with the report so far, at once, the handler restored."""
    import signal

    before = signal.getsignal(signal.SIGINT)
    hangs = "import time\ntime.sleep(3600)\n"

    def interrupt(done: int, total: int, module: ModuleReport) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(AuditInterrupted) as caught:
        audit(["core"], path=app(b=hangs, c=hangs), jobs=2, timeout=600, progress=interrupt)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert [module.module for module in caught.value.report.modules] == ["core"]
    assert caught.value.report.pending == ("core.b", "core.c")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_at_the_very_end_is_not_lost(app: App) -> None:
    """It comes with the whole report: its sender wants the program to end, and its status to say so."""
    import signal

    def interrupt(done: int, total: int, module: ModuleReport) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(AuditInterrupted) as caught:
        audit(["core"], path=app(), jobs=1, progress=interrupt)
    assert caught.value.signal == signal.SIGTERM
    assert [module.verdict for module in caught.value.report.modules] == ["ok"]
    assert caught.value.report.pending == ()


def test_an_interpreter_that_dies_at_its_start_is_reported(app: App, tmp_path: Path) -> None:
    """A sitecustomize that leaves is no mystery: the message says where to look."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(broken)}
    with pytest.raises(ConfigurationError, match="ended with status 7"):
        only("core", app(), env=environment)


PRELOADS = """
import lazyguard, os, threading

@lazyguard.lazy
def built() -> list[int]:
    done.wait(10)
    os.mkdir({directory!r})
    return [1]

done = threading.Event()
started = lazyguard.preload(built, "decimal")
"""


def test_what_lazyguard_does_in_the_background_is_no_finding(app: App, tmp_path: Path) -> None:
    """A preload is declared: its thread, and what it builds while the import goes on."""
    text = PRELOADS.format(directory=str(tmp_path / "made"))
    after = "done.set()\nimport time\nwhile not started.ended: time.sleep(0)\n"
    assert only("core.wsgi", app(wsgi=text + after)).findings == ()


def test_what_an_import_waits_for_is_its_own(app: App, tmp_path: Path) -> None:
    """Also where a thread of lazyguard does it: a service that is used by the import that declares it."""
    text = f"""
import lazyguard, os

@lazyguard.service(timeout=20.0)
def get() -> list[int]:
    os.mkdir({str(tmp_path / "made")!r})
    return [1]

len(get())
"""
    assert [each.kind for each in only("core.eager", app(eager=text)).findings] == ["file-write"]
