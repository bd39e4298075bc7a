"""Take lazyguard to public programs: install one, edit a copy, measure before and after with Redis well, silent, gone.

    python -m tests.field [NAME ...]

Everything is below build/field. The page docs/explanation/field.md has what was found; figures go to stdout.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

from tests.field.environments import HOME, STATES, copied, differing, installed, sources, their_tests
from tests.field.programs import PROGRAMS, Program

LIMIT = 40.0
SERVED = str(Path(__file__).with_name("served.py"))


@contextmanager
def redis(state: str) -> Iterator[str]:
    """Yield the address of a Redis that is well, that accepts and never answers, or that refuses."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = None
        if state != "silent":
            server.close()
        if state == "well":
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
            process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            if process is not None:
                process.kill()
                process.wait()


def environment(home: Path, state: str, program: Program, address: str) -> dict[str, str]:
    (home / "data").mkdir(exist_ok=True)
    given = {name: value.format(home=home / "data", redis=address) for name, value in program.env.items()}
    return {**os.environ, **given, "PYTHONPATH": str(home / state)}


def measured(name: str, program: Program) -> None:
    """Print what each of the timed things takes, before and after, in each state of Redis."""
    home = HOME / name
    python = str(installed(home, [program.requirement, *program.needed]))
    copied(home, Path(python), program.packages, program.edits)
    for state in STATES:
        for file, text in program.site.items():
            (home / state / file).parent.mkdir(parents=True, exist_ok=True)
            (home / state / file).write_text(text)
    with redis("well") as address:
        prepared = home / "data" / "prepared"
        env = environment(home, "before", program, address)
        if program.prepare and not prepared.exists():
            subprocess.run([python, *program.prepare], env=env, cwd=home / "before", check=True, stdout=DEVNULL)
            prepared.touch()
    print(f"{program.requirement}, Python {sys.version.split()[0]}; seconds, {LIMIT:g} is the limit")
    audited(home, python, program)
    for server in ("well", "silent", "refusing"):
        for what, (first, *rest) in program.timed.items():
            command = [python, "-W", "ignore", *([SERVED] if first == "SERVED" else [first]), *rest]
            for state in STATES:
                with redis(server) as address:
                    env = environment(home, state, program, address)
                    print(f"{server:9}{state:7} {what}: {_run(command, env, home / state)}", flush=True)
    if program.tests:
        tested(home, python, program)


def audited(home: Path, python: str, program: Program) -> None:
    """Print what the audit of all modules says, as they are, while Redis is silent."""
    report = home / "audit.json"
    command = [sys.executable, "-m", "lazyguard", "audit", *program.packages, "--python", python, "--no-advice"]
    began = time.perf_counter()
    with redis("silent") as address, (home / "audit.log").open("w") as log:
        env = environment(home, "before", program, address)
        given = [*command, "--json", str(report), *program.audit]
        subprocess.run(given, env=env, cwd=home / "before", stdout=log, stderr=log, check=False)
    modules = json.loads(report.read_text())["modules"]
    taken = time.perf_counter() - began
    print(f"audit of {len(modules)} modules, {taken:.0f} s: {_counted(each['verdict'] for each in modules)}")
    places = {(each["kind"], each["file"], each["line"]) for module in modules for each in module["findings"]}
    print(f"side effects and the like, by place: {_counted(kind for kind, _, _ in places)}")
    slowest = sorted(modules, key=lambda module: -module["own_seconds"])[:3]
    print(", ".join(f"{each['module']} {each['own_seconds']:.2f}" for each in slowest), flush=True)


def _counted(kinds: Iterable[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common()) or "none"


def tested(home: Path, python: str, program: Program) -> None:
    """Run the part of their own tests that is named, before and after."""
    for name in program.beside:
        place = sources(home, Path(python), program.requirement, program.constraint) / program.sources / name
        for state in STATES:
            (shutil.copytree if place.is_dir() else shutil.copy)(place, home / state / name)
    outcomes = {}
    for state in STATES if program.edits else STATES[:1]:
        place = home / state
        if not (place / "setup.cfg").exists():
            (place / "pytest.ini").write_text("[pytest]\n")  # or else it is that of this repository
        with redis("well") as address:
            env = environment(home, state, program, address)
            outcomes[state] = their_tests(python, place, program.tests, {**env, **program.tests_env})
        print(f"{state:7} their tests: {_counted(outcomes[state].values())}", flush=True)
    for line in differing(outcomes["before"], outcomes.get("after", outcomes["before"])):
        print(line, flush=True)


def _run(command: list[str], env: dict[str, str], home: Path) -> str:
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            status = f"status {process.wait(LIMIT)}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "killed"
        taken = time.perf_counter() - began
        for stream in (out, err):
            stream.seek(0)
        shown = " ".join(out.read().split("\n"))
        lines = err.read().strip().splitlines()
    return f"{taken:.2f} {status} {shown[-400:]}" + (f" {lines[-1][:200]}" if lines and status != "status 0" else "")


def main(names: list[str]) -> None:
    for name in names or PROGRAMS:
        measured(name, PROGRAMS[name])


if __name__ == "__main__":
    main(sys.argv[1:])
