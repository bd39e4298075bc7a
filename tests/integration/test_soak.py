"""`make soak` itself: its schedule, what it calls broken, and that it leaves no process behind."""

from __future__ import annotations

import copy
import glob
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.benchmarks.soak.faults import HARSH, USUAL, schedule

for _needed in ("fastapi", "uvicorn", "uvloop", "asyncpg", "redis"):
    pytest.importorskip(_needed, reason="the group `integration` has it")
from tests.benchmarks.soak.promises import Judged  # noqa: E402

pytestmark = pytest.mark.usefixtures("limited")
ROOT = Path(__file__).parents[2]
SERVERS = ("redis", "postgres", "supplier")


@pytest.mark.parametrize("harsh", [False, True], ids=["usual", "harsh"])
@pytest.mark.parametrize("seed", range(5))
def test_a_seed_says_all_of_the_schedule(seed, harsh):
    """It is the same again; a server has one fault at a time; all are over when they should be; every mode comes."""
    faults = schedule(seed, "fastapi", SERVERS, 1200.0, harsh)
    assert faults == schedule(seed, "fastapi", SERVERS, 1200.0, harsh)
    assert faults != schedule(seed + 1, "fastapi", SERVERS, 1200.0, harsh)
    for server in SERVERS:
        mine = [fault for fault in faults if fault.server == server]
        assert all(one.begin < one.end < other.begin for one, other in itertools.pairwise(mine))
        assert mine[0].begin >= 0.0
        assert mine[-1].end <= 1200.0
    assert {fault.mode for fault in faults} == set(HARSH if harsh else USUAL)


def a_run():
    """Return what was seen in a run that kept all promises: one fault of a minute, in a run of two."""
    seconds, both = range(-20, 145), (7, 8)
    check = {"name": "teas:get_cache", "kind": "service", "status": "pass", "state": "ready", "cause": ""}
    return {
        "example": "fastapi", "seconds": 120.0, "seed": 1, "harsh": False, "end": 145.0, "recovery": 5.0, "log": "",
        "faults": [["redis", "silent", 20.0, 80.0]],
        "requests": [[float(at), 0.01, "200", "/teas/1", worker, 0.01, 0.0, 0.0] for at in seconds for worker in both],
        "notes": {
            str(worker): [{"at": float(at), "status": "pass", "checks": [dict(check)], "threads": {}} for at in seconds]
            for worker in both
        },
        "samples": [
            {"at": float(at), "pid": worker, "rss": 80_000_000, "threads": 8, "descriptors": 30}
            for at in seconds for worker in both
        ],
    }  # fmt: skip


def unanswered(run):
    """have no answer"""
    run["requests"][100][2] = "ConnectionResetError"


def failed(run):
    """failed while all was well"""
    run["requests"][-1][2] = "503"


def late(run):
    """took longer than"""
    run["requests"][100][1] = 0.7


def degraded(run):
    """after its servers' return"""
    for note in run["notes"]["7"]:
        if 25 < note["at"] < 90:
            note["checks"][0] |= {"status": "warn", "state": "degraded"}


def degraded_at_the_end(run):
    """does not end well"""
    run["notes"]["8"][-1] |= {"status": "warn"}


def without_notes(run):
    """does not end well"""
    run["notes"]["8"] = []


def health_raised(run):
    """health raised"""
    run["notes"]["8"][50] = {"at": 30.0, "error": "AttributeError"}


def grows(what, by):
    def grow(run):
        for sample in run["samples"]:
            if sample["pid"] == 7:
                sample[what] += int(by * max(0.0, sample["at"]))

    grow.__name__, grow.__doc__ = f"{what}_grow", f"{what} of worker 7"
    return grow


def stay(run):
    """threads of worker"""
    for sample in run["samples"]:
        sample["threads"] += 6 if sample["at"] > 120.0 else 0


def another_worker(run):
    """the workers were"""
    for request in run["requests"]:
        request[4] += 90 if request[0] > 60.0 and request[4] == 7 else 0


BREAKS = [unanswered, failed, late, degraded, degraded_at_the_end, without_notes, health_raised, stay, another_worker]
GROWN = [grows("rss", 100_000), grows("threads", 0.1), grows("descriptors", 0.3)]


@pytest.mark.parametrize("spoil", [*BREAKS, *GROWN], ids=lambda one: one.__name__)
def test_each_promise_can_be_broken(spoil):
    """A run that keeps all promises is judged so; what spoils one of them breaks that one."""
    run = a_run()
    assert Judged(copy.deepcopy(run)).broken == []
    spoil(run)
    judged = Judged(run)
    assert judged.broken
    assert all(spoil.__doc__ in sentence for sentence in judged.broken), judged.broken


def busy(run):
    run["requests"][100][1], run["requests"][100][6] = 0.7, 0.3
    run["requests"][101][1], run["requests"][101][7] = 0.7, 0.3


def failed_by_the_machine(run):
    run["requests"][-1][1:3] = 0.52, "504"
    run["requests"][-1][6:] = 0.2, 0.3


def failed_in_an_outage(run):
    run["requests"][100][2] = "503"


def degraded_in_an_outage(run):
    for note in run["notes"]["7"]:
        if 21 < note["at"] < 84:
            note["checks"][0] |= {"status": "warn", "state": "degraded"}


def pools_fill(run):
    for sample in run["samples"]:
        sample["descriptors"] += 10 if sample["at"] > 20.0 else 0


@pytest.mark.parametrize(
    "excused", [busy, failed_by_the_machine, failed_in_an_outage, degraded_in_an_outage, pools_fill]
)
def test_what_breaks_no_promise(excused):
    """A busy machine, an outage, and the time that a recovery may take."""
    run = a_run()
    excused(run)
    assert Judged(run).broken == []


def processes_of(directory: str) -> list[str]:
    """Return the processes whose command or working directory is below a directory."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            command = Path(path, "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if directory in command or os.readlink(f"{path}/cwd").startswith(directory):
                found.append(f"{path} {command}")
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("lines", [1, 3], ids=["at its start", "under load"])
def test_an_interruption_leaves_no_process(redis_program, postgres_program, lines):
    """Ctrl-C ends the run, its servers and its workers; the exit status says so."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o711)  # PostgreSQL's user goes through it
        soak = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.soak", "fastapi", "--minutes", "5"],
            cwd=ROOT, env={**os.environ, "TMPDIR": directory}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert soak.stdout is not None
        for _ in range(lines):
            assert soak.stdout.readline()
        soak.send_signal(signal.SIGINT)
        _, errors = soak.communicate(timeout=120)
        assert soak.returncode == 130, errors
        assert processes_of(directory) == []
        assert os.listdir(directory) == []


@pytest.mark.parametrize(("spoil", "status"), [(None, 0), (late, 1)], ids=["kept", "broken"])
def test_the_exit_status_says_whether_a_promise_is_broken(tmp_path, spoil, status):
    """The figures and what is broken are in a file, too."""
    run = a_run()
    if spoil is not None:
        spoil(run)
    (tmp_path / "fastapi.json").write_text(json.dumps(run))
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.soak",
        "fastapi",
        "--judge",
        tmp_path,
        "--json",
        tmp_path / "said",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    said = json.loads((tmp_path / "said").read_text())
    assert (said["seconds"], said["seed"]) == (120.0, 1)
    assert len(said["examples"]["fastapi"]["broken"]) == said["examples"]["fastapi"]["figures"]["broken"] == status


def test_unusable_arguments_are_told():
    """Exit status 2, and what there is."""
    command = [sys.executable, "-m", "tests.benchmarks.soak"]
    done = subprocess.run([*command, "pyramid"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "flask, django, fastapi" in done.stderr) == (2, True)
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--minutes" in done.stdout) == (0, True)
