"""Advice that was measured: programs whose imports cost a known time, run without them in fresh interpreters."""

from __future__ import annotations

import os
import signal
import tempfile
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lazyguard.audit import AuditInterrupted, audit
from lazyguard.audit.advice import advising, trials
from lazyguard.audit.advice import text as advice_text
from lazyguard.audit.analysis.import_tree import Scope
from lazyguard.audit.report.model import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lazyguard.audit.advice.trials import Unit
    from lazyguard.audit.report.model import Advice, Deferral

SLEEP = 1.0  # a good deal more than what a busy machine makes an import vary by


@pytest.fixture
def advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What gives the advice for `prog.main` of a program, reported by its files."""
    monkeypatch.setattr(advising, "ROUNDS", 2)

    def advise(*, limit: float = 60.0, slow_from: float = 60.0, **files: str) -> Advice:
        package = tmp_path / "prog"
        package.mkdir()
        (package / "__init__.py").touch()
        for name, text in files.items():
            (package / f"{name}.py").write_text(textwrap.dedent(text))
        report = audit(["prog.main"], path=tmp_path, walk=False, timeout=limit, slow=slow_from, advice=True)
        (one,) = report.advice
        return one

    return advise


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is saved be told from none, however much a busy machine makes it vary."""
    monkeypatch.setattr(advising, "is_noise", lambda *_: False)


def of(one: Advice, place: str) -> Deferral:
    (found,) = [each for each in one.imports if f"{each.file}:{each.line}" == f"prog/{place}"]
    return found


SLOW = f"import time\ntime.sleep({SLEEP})\nclass Thing: pass\n"


def test_what_is_shared_is_saved_by_all_together_alone(advice) -> None:
    """Two importers of one slow module save nothing each, and its whole time together."""
    user = "from prog import slow\nA = 1\ndef f(): return slow.Thing"
    one = advice(main="from prog.a import A\nfrom prog.b import A as B\nprint(A, B)", a=user, b=user, slow=SLOW)
    first, second = of(one, "a.py:1"), of(one, "b.py:1")
    assert first.defer
    assert second.defer
    assert first.saving is not None
    assert second.saving is not None
    assert one.saving is not None
    assert one.saving > SLEEP * 0.75
    assert max(first.saving, second.saving) < one.saving / 2
    assert first.replacement in (
        "with lazyguard.lazy_imports():\n    from prog import slow",
        "lazy from prog import slow",
    )


class Measured:
    """Stands for the runs of a target: a statement that is deferred saves its seconds, all together what is shared."""

    def __init__(self, saves: dict[int, float], shared: float = 0.0) -> None:
        self.saves, self.shared = saves, shared

    def begin(self, *_: object) -> None: ...

    def run(self, units: Sequence[Unit]) -> Any:
        lines = [line for _, line, *_ in units]
        whole = self.shared if len(lines) == len(self.saves) else 0.0
        return SimpleNamespace(seconds=1.0 - whole - sum(self.saves[line] for line in lines), error=None)


@pytest.mark.parametrize(
    ("saves", "shared", "advised", "saving", "said"),
    [
        ({1: 0.4, 2: 0.003}, 0.0, [1], 0.4, None),
        ({1: 0.003, 2: 0.004}, 0.0, [], 0.0, None),
        ({1: 0.003, 2: 0.004}, 0.3, [1, 2], 0.307, "together they save it"),
        ({1: 0.4, 2: 0.3}, 0.0, [1, 2], 0.7, None),
    ],
)
def test_what_is_below_the_noise_is_not_advised(
    saves: dict[int, float], shared: float, advised: list[int], saving: float, said: str | None
) -> None:
    """Unless it is that together with the others: what several load is saved by none of them alone."""
    found = advising._Advising(Measured(saves, shared), Scope("/app", ()), (3, 11))  # type: ignore[arg-type]
    statements = [{"file": "a.py", "line": line, "column": 0, "module": "x", "kind": "import"} for line in saves]
    candidates = [
        advising.Candidate(each, ("x",), 0.1, None, None, optional=False, exported=False) for each in statements
    ]
    base, joint = found._rounds(candidates)
    joint = found._without_noise(candidates, base, joint)
    assert [each.statement["line"] for each in candidates if each.is_open] == advised
    assert base - joint == pytest.approx(saving)
    assert (found.note is None) if said is None else (said in str(found.note))


def test_a_call_that_takes_the_time_is_named(advice) -> None:
    """No import that is deferred saves it."""
    text = f"import time\ndef connect(): time.sleep({SLEEP})\nconnect()\n"
    one = advice(main=text, limit=5.0, slow_from=0.1)
    assert "the call at prog/main.py:3 -> prog/main.py:2, which is no import" in str(one.note)


def test_what_must_stay_has_its_reason_and_line(advice) -> None:
    """A use at import that only running shows, a registration and a base class each keep their import."""
    one = advice(
        main="""
        REGISTRY = {}
        from prog import called, registers, based
        from prog.called import run
        run()
        """,
        called="from prog import heavy\ndef run(): return heavy.Thing",
        registers="import sys\nfrom prog import plugin\ndef f(): return plugin",
        plugin="import sys, time\ntime.sleep(0.01)\nsys.modules['prog.main'].REGISTRY['plugin'] = 1",
        based="from prog import base\nclass A(base.Thing): pass",
        heavy="import time\ntime.sleep(0.01)\nclass Thing: pass",
        base="import time\ntime.sleep(0.01)\nclass Thing: pass",
    )
    called = of(one, "called.py:1")
    assert called.reason == "heavy is used while prog.main is imported"
    assert str(called.because) == "prog/called.py:2"
    assert of(one, "registers.py:2").reason == "it registers 1 entry in prog.main.REGISTRY"
    based = of(one, "based.py:1")
    assert based.reason == "base is used as a base class"
    assert str(based.because) == "prog/based.py:2"
    assert not any(each.defer for each in (called, of(one, "registers.py:2"), based))


def test_a_filter_of_warnings_keeps_the_import_of_who_makes_it(advice, steady, tmp_path: Path) -> None:
    """A library that silences its own warnings, as numpy does, can come later; a module of the program cannot."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "library.py").write_text("import warnings\nwarnings.filterwarnings('ignore', 'library')\n")
    wait = f"import sys, time\nsys.path.append({str(installed)!r})\ntime.sleep(0.01)\n"
    one = advice(
        main="from prog import quiet\nfrom prog import loud\ndef f(): return quiet, loud",
        quiet=wait + "import library\nprint(library)",
        loud=wait + "import warnings\nwarnings.simplefilter('error')",
    )
    assert of(one, "main.py:1").defer
    assert of(one, "main.py:2").reason == "it registers 1 filter of warnings"


def test_an_import_that_fails_without_it_stays(advice) -> None:
    """Where the import of the target fails without a statement, the error and its line are the reason."""
    one = advice(
        main="from prog import patched\nimport sys\nassert 'prog.heavy' in sys.modules, 'heavy is wanted'",
        patched="from prog import heavy\ndef f(): return heavy",
        heavy="import time\ntime.sleep(0.01)",
    )
    found = of(one, "patched.py:1")
    assert found.reason == "without it the import fails: AssertionError: heavy is wanted"
    assert str(found.because) == "prog/main.py:3"
    assert one.saving is None


def test_what_is_loaded_all_the_same_is_no_advice(advice) -> None:
    """An import whose module another needs at once saves nothing, and is not advised."""
    one = advice(
        main="from prog import later\nfrom prog.heavy import Thing\nprint(Thing)",
        later="from prog import heavy\ndef f(): return heavy",
        heavy="import time\ntime.sleep(0.01)\nclass Thing: pass",
    )
    found = of(one, "later.py:1")
    assert not found.defer
    assert found.reason == "prog.heavy is loaded all the same"
    assert str(found.because) == "prog/main.py:2"


def test_the_setup_runs_before_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady) -> None:
    """As in the audit: without it a project's modules fail, and what it has loaded is no statement's to save."""
    monkeypatch.setattr(advising, "ROUNDS", 1)
    (tmp_path / "framework.py").write_text(
        "ready = False\ndef setup():\n    global ready\n    ready = True\n    import heavy\n"
    )
    (tmp_path / "heavy.py").write_text(SLOW)
    (tmp_path / "other.py").write_text(SLOW)
    views = "import framework, heavy, other\nassert framework.ready\ndef view(): return heavy, other\n"
    (tmp_path / "views.py").write_text(views.replace(", ", "\nimport ", 2))
    setup = "import framework; framework.setup()"
    (one,) = audit(["views"], path=tmp_path, slow=60.0, timeout=60.0, setup=setup, advice=True).advice
    assert one.note is None
    assert [each.statement for each in one.imports if each.defer] == ["import other"]


def test_a_target_that_fails_is_reported(tmp_path: Path) -> None:
    """There is no advice for what cannot be imported, and the report says so."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (one,) = audit(["broken"], path=tmp_path, advice=True).advice
    assert one.note == "its import does not succeed, or it has no code of its own"
    assert one.imports == ()


def test_an_interpreter_that_cannot_judge_sources_is_reported(advice, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it ended is the note of the advice: it does not look as if there was nothing to defer."""
    monkeypatch.setattr(trials, "SURVEYING", ("-c", "raise SystemExit('no ast here')"))
    one = advice(main="from prog import heavy\ndef f(): return heavy", heavy="import time\ntime.sleep(0.01)")
    assert one.note is not None
    assert one.note.endswith("cannot be judged: the interpreter ended with status 1: no ast here")
    assert one.imports == ()
    assert advice_text.advice(Report("3", 5, 1, (), advice=(one,))).startswith("no advice for prog.main: the imports")


WAITS = {
    "main": "from prog import heavy\ndef f(): return heavy",
    "heavy": "import time\ntime.sleep(0.01)",
}


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What advises on two targets and interrupts itself before a run that is for something; returns what was known."""
    monkeypatch.setattr(advising, "ROUNDS", 3)
    (tmp_path / "left").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "left"))
    package = tmp_path / "prog"
    package.mkdir()
    for name, text in {"__init__": "", **WAITS}.items():
        (package / f"{name}.py").write_text(text)

    def until(purpose: str, number: int = signal.SIGINT) -> tuple[Advice, Advice]:
        def tell(done: int, total: int | None, what: str) -> None:
            if purpose in what:
                os.kill(os.getpid(), number)

        targets = ["prog.main", "prog.heavy"]
        with pytest.raises(AuditInterrupted) as caught:
            audit(targets, path=tmp_path, walk=False, timeout=60.0, slow=60.0, advice=True, advising=tell)
        report = caught.value.report
        assert caught.value.signal == number
        assert [(each.module, each.verdict) for each in report.modules] == [(name, "ok") for name in targets]
        assert os.listdir(tmp_path / "left") == []
        first, second = report.advice
        return first, second

    return until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_a_round_is_done_leaves_the_verdicts(interrupted, number: int) -> None:
    """Each target says that there is no advice for it, and why; no file is left."""
    for one in interrupted("what they register", number):
        assert one.note == "interrupted before anything was measured"
        assert one.imports == ()
        assert advice_text.advice(Report("3", 5, 1, (), advice=(one,))) == f"no advice for {one.target}: {one.note}"


def test_an_interrupt_after_a_round_leaves_what_it_measured(interrupted, steady) -> None:
    """The advice of the rounds that are done, marked; the other target has none."""
    first, second = interrupted("round 2 of 3")
    assert first.note == "interrupted in round 2 of 3: the figures are of those before"
    assert first.rounds == 1
    assert of(first, "main.py:1").defer
    assert first.saving is not None
    assert second.note == "interrupted before anything was measured"


def test_the_advice_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run before it begins, with its purpose; how many there will be once that is known."""
    monkeypatch.setattr(advising, "ROUNDS", 2)
    for name, text in WAITS.items():
        (tmp_path / "prog").mkdir(exist_ok=True)
        (tmp_path / "prog" / f"{name}.py").write_text(text)
    reported: list[tuple[int, int | None, str]] = []
    audit(
        ["prog.main"],
        path=tmp_path,
        walk=False,
        timeout=60.0,
        slow=60.0,
        advice=True,
        advising=lambda done, total, what: reported.append((done, total, what.removeprefix("advice for prog.main: "))),
    )
    known = ["what it imports", "what it imports", "what they register", "whether 1 import can wait"]
    rounds = ["round 1 of 2, 1 to defer"] * 3 + ["round 2 of 2, 1 to defer"] * 3
    assert reported == [
        *((at, None, what) for at, what in enumerate(known)),
        *((at + 4, 10, what) for at, what in enumerate(rounds)),
    ]
