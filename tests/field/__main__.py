"""Take lazyguard to public programs: install one, edit a copy, measure before and after with Redis well, silent, gone.

    python -m tests.field [NAME ...]

Everything is below build/field. The page docs/explanation/field.md has what was found; figures go to stdout.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.field.programs import PROGRAMS, Program

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "field"
LIMIT = 40.0
SERVED = str(Path(__file__).with_name("served.py"))


def installed(home: Path, program: Program) -> Path:
    """Return the interpreter of an environment that has the program and lazyguard."""
    python = home / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, program.requirement, str(ROOT)], check=True)
    return python


def copied(home: Path, python: Path, program: Program) -> None:
    """Lay the package beside itself, once as it is and once edited."""
    place = [str(python), "-c", f"import importlib.util as u; print(u.find_spec('{program.package}').origin)"]
    package = Path(subprocess.run(place, check=True, capture_output=True, text=True).stdout.strip()).parent
    for state in ("before", "after"):
        shutil.rmtree(home / state, ignore_errors=True)
        shutil.copytree(package, home / state / program.package)
    for name, pattern, text in program.edits:
        file = home / "after" / name
        edited, count = re.subn(pattern, text, file.read_text(), count=1, flags=re.MULTILINE)
        assert count == 1, f"{name} has no {pattern}"
        file.write_text(edited)


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
    home.mkdir(parents=True, exist_ok=True)
    python = str(installed(home, program))
    copied(home, Path(python), program)
    with redis("well") as address:
        prepared = home / "data" / "prepared"
        if program.prepare and not prepared.exists():
            env = environment(home, "before", program, address)
            subprocess.run([python, *program.prepare], env=env, cwd=home, check=True, stdout=subprocess.DEVNULL)
            prepared.touch()
    print(f"{program.requirement}, Python {sys.version.split()[0]}; seconds, {LIMIT:g} is the limit")
    for server in ("well", "silent", "refusing"):
        for what, (first, *rest) in program.timed.items():
            command = [python, "-W", "ignore", *([SERVED] if first == "SERVED" else [first]), *rest]
            for state in ("before", "after"):
                with redis(server) as address:
                    env = environment(home, state, program, address)
                    print(f"{server:9}{state:7} {what}: {_run(command, env, home)}", flush=True)
    if program.tests:
        tested(home, python, program)


def tested(home: Path, python: str, program: Program) -> None:
    """Run the part of their own tests that is named, before and after."""
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *program.needed], check=True)
    (home / "constraint").write_text(program.constraint + "\n")
    sdist = home / "sdist"
    if not sdist.exists():
        env = {**os.environ, "PIP_CONSTRAINT": str(home / "constraint")}
        name = program.requirement.partition("=")[0]
        fetch = [*pip, "download", "--no-deps", "--no-binary", name, "--dest", str(sdist), program.requirement]
        subprocess.run(fetch, env=env, check=True)
        shutil.unpack_archive(next(sdist.glob("*.tar.gz")), sdist)
    sources = next(each for each in sdist.iterdir() if each.is_dir()) / program.sources
    for state in ("before", "after"):
        shutil.copytree(sources / "tests", home / state / "tests")
        for settings in sources.glob("setup.cfg"):
            shutil.copy(settings, home / state)
        env = {**os.environ, "PYTHONPATH": str(home / state)}
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *program.tests]
        ran = subprocess.run(command, env=env, cwd=home / state, capture_output=True, text=True, check=False)
        print(f"{state:7} their tests: {ran.stdout.strip().splitlines()[-1]}", flush=True)


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
