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


def environment(home: Path, state: str, variables: dict[str, str], address: str) -> dict[str, str]:
    (home / "data").mkdir(exist_ok=True)
    given = {name: value.format(home=home / "data", redis=address) for name, value in variables.items()}
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
        env = environment(home, "before", program.env, address)
        if program.prepare and not prepared.exists():
            subprocess.run([python, *program.prepare], env=env, cwd=home / "before", check=True, stdout=DEVNULL)
            prepared.touch()
    print(f"{program.requirement}, Python {sys.version.split()[0]}; seconds, {LIMIT:g} is the limit")
    audited(home, python, program)
    columns: list[str] = []
    for server in ("well", "silent", "refusing"):
        for state in STATES if program.timed else ():
            cells = {}
            for what, command in program.timed.items():
                with redis(server) as address:
                    env = environment(home, state, program.env, address)
                    cells.update(timed(what, [python, "-W", "ignore", *command], env, home / state))
            if not columns:
                columns = [name for name in cells if name != "killed"]
                print(f"| Redis | | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
            missing = [name for name in columns if name not in cells]
            if "killed" in cells and missing:
                cells[missing[0]] = cells.pop("killed")
            print(f"| {server} | {state} | {' | '.join(cells.get(name, '') for name in columns)} |", flush=True)
    if program.tests:
        tested(home, python, program)


def audited(home: Path, python: str, program: Program) -> None:
    """Print what the audit of all modules says, as they are, while Redis is silent."""
    report = home / "audit.json"
    command = [sys.executable, "-m", "lazyguard", "audit", *program.packages, "--python", python, "--no-advice"]
    began = time.perf_counter()
    with redis("silent") as address, (home / "audit.log").open("w") as log:
        env = environment(home, "before", program.env, address)
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
            env = environment(home, state, program.tests_env, address)
            outcomes[state] = their_tests(python, place, program.tests, env)
        print(f"{state:7} their tests: {_counted(outcomes[state].values())}", flush=True)
    for line in differing(outcomes["before"], outcomes.get("after", outcomes["before"])):
        print(line, flush=True)


def timed(what: str, command: list[str], env: dict[str, str], place: Path) -> dict[str, str]:
    """Run it, and return the cells of the table: what it printed with a name of its own, or its time."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=env, cwd=place, stdin=DEVNULL, stdout=out, stderr=err)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        taken = time.perf_counter() - began
        for stream in (out, err):
            stream.seek(0)
        cells = {}
        for line in out.read().splitlines():
            if line.startswith("["):
                name, seconds, answer = json.loads(line)
                cells[name] = f"{seconds:.3g} ({answer})" if answer else f"{seconds:.3g}"
        if status is None:
            cells["killed" if cells else what] = "killed"
        elif status or not cells:
            said = err.read().strip().splitlines()
            cells.setdefault(what, f"{taken:.3g}" + (f" ({said[-1].split(':')[0]})" if status else ""))
    return cells


def main(names: list[str]) -> None:
    for name in names or PROGRAMS:
        measured(name, PROGRAMS[name])


if __name__ == "__main__":
    main(sys.argv[1:])
