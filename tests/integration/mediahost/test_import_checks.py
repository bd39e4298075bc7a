"""The 23 import checks of the example, each a test for `after`; and that `before` and `after` are the same program."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

# What either side offers, module by module: the names that the rest of the world may use.
PUBLIC = {
    "core": "MediaHostError MeetingNotFound QueueUnavailable TranscriptionFailed celery_app queue_service "
    "summary_service transcription_service Meeting Transcript record_meeting",
    "core.config": "Config config",
    "core.exceptions": "MediaHostError MeetingNotFound TranscriptionFailed QueueUnavailable ErrorCounter "
    "error_counter RETRYABLE",
    "core.database": "engine session Base init_db transaction",
    "core.models": "Base Meeting Transcript record_meeting",
    "core.services": "TranscriptionService SummaryService QueueService transcription_service summary_service "
    "queue_service export",
    "core.tasks": "app MeetingTask transcribe_meeting add_up drain_queue requeue transcribe_all log_retry "
    "schedule_requeue",
    "core.reports": "summarise_meeting count_statuses",
    "core.admin_ui": "blueprint say_error list_meetings add_meeting show_meeting preview_meeting ask_for_summary "
    "export_meetings",
    "core.monitoring.integrated_dashboard": "IntegratedDashboard create_app app dashboard socketio",
    "core.rebuild_index": "rebuild",
}
CHECKS = 23


def test_there_are_23_checks(checks):
    """The checks are those that the design counts."""
    assert len(checks.checks()) == CHECKS
    assert len({check.name for check in checks.checks()}) == CHECKS


@pytest.mark.parametrize("number", range(CHECKS))
def test_check_passes(checks, child_environment, number):
    """With lazyguard the import check passes, and well within its time limit."""
    check = checks.checks()[number]
    (result,) = checks.run("after", chosen=[check], timeout=20.0, env=child_environment())
    assert result.outcome == "passes", f"{check.name}: {result.output}"


def test_the_checks_tell_apart(checks, child_environment):
    """A check can fail: without lazyguard the program hangs on a silent Redis, and fails on one that refuses."""
    chosen = [check for check in checks.checks() if check.name in ("core.config alone", "a Redis that refuses")]
    results = checks.run("before", chosen=chosen, timeout=8.0, env=child_environment())
    assert [result.outcome for result in results] == ["hangs", "fails"]


def test_nothing_heavy_is_imported(child_environment, example):
    """The modules of `after` load neither the libraries that they are made of nor what declaring may not load."""
    heavy = "celery flask redis requests pandas sqlalchemy kombu wrapt tenacity asyncio threading"
    lines = f"""
import sys, core.services, core.tasks, core.admin_ui, core.exceptions, core.monitoring.integrated_dashboard
print([name for name in {heavy.split()!r} if name in sys.modules])
"""
    done = _run(lines, example / "after", child_environment())
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_before(example, module):
    """`before` has every name that is public, written in its source."""
    path = example / "before" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: set[str] = set()
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in statement.names}
    assert set(PUBLIC[module].split()) <= names


def test_public_names_after(example, child_environment, tmp_path):
    """`after` answers every public name with an object of the right kind, with no Redis anywhere."""
    public = {module: names.split() for module, names in PUBLIC.items()}
    lines = f"""
import importlib, json, sys
sys.path.insert(0, "core")  # where core.rebuild_index looks for `models`
missing = []
for module, names in {json.dumps(public)}.items():
    found = importlib.import_module(module)
    missing += [f"{{module}}.{{name}}" for name in names if not hasattr(found, name)]
import core.tasks, core.database, core.models, core.exceptions, core.reports
assert issubclass(core.tasks.MeetingTask, __import__("celery").Task)
assert core.database.Base is core.models.Base
assert core.exceptions.MeetingNotFound is core.MeetingNotFound
assert core.tasks.transcribe_meeting.name == "core.tasks.transcribe_meeting"
assert core.reports.summarise_meeting.app.main == "mediahost"
print(missing)
"""
    settings = {"MEDIAHOST_DATA_DIR": str(tmp_path), "MEDIAHOST_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = _run(lines, example / "after", child_environment(**settings))
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_silent_redis_leaves_nothing(checks):
    """The silent Redis accepts, never answers, and when its block ends the connection is gone and the port is free."""
    import socket

    from_url = checks.silent_redis
    with from_url() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        connection = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        connection.sendall(b"PING\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    with connection:
        connection.settimeout(5.0)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5.0)


def _run(lines: str, path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", lines],
        cwd=path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40.0,
    )
