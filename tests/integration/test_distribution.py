"""What is handed out: the sdist, the wheel made of it, and what somebody has who installed that wheel alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 120.0


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without what this environment would add to it."""
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=plain | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | env,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build the sdist, and the wheel from the sdist; return the directory that has both."""
    pytest.importorskip("build", reason="the package `build` is not installed")
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """Install the wheel into an environment that has nothing; return the directory of its commands."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=True)
    wheel = next(built.glob("*.whl"))
    done = run(home / "bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=home)
    if done.returncode and ("No matching distribution" in done.stderr or "Max retries" in done.stderr):
        pytest.skip("no package index can be reached, for wrapt and tenacity")
    assert done.returncode == 0, done.stderr
    return home / "bin"


def test_the_wheel_has_the_package_and_nothing_else(built):
    """Every file of the package is in the wheel, with its licence and its types; no test is, and no page."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    source = ROOT / "src"
    files = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {str(path.relative_to(source)) for path in files}
    assert "lazyguard/py.typed" in names


def test_the_sdist_can_be_tested(built):
    """The sdist has what `make test` needs: the tests, the documentation that they run, and the Makefile."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
        "pyproject.toml",
        "tests/conftest.py",
        "docs/index.md",
    }
    assert wanted <= names
    assert not {name for name in names if name.startswith((".venv", "build/", "dist/")) or "__pycache__" in name}


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/tour.md"])
def test_the_first_pages_run_where_only_the_wheel_is(installed, tmp_path, page):
    """All that the README and the tour of the five verbs show does what they say in an empty environment."""
    here = tmp_path / "here"
    here.mkdir()
    path = f"{installed}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONWARNINGS": "error"}
    done = run(installed / "python", ROOT / "tests/docs/play.py", "page", ROOT / page, cwd=here, **settings)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_of_all_that_is_public_are_complete(installed, tmp_path):
    """A type checker knows the type of every public name, and of all that those are made of: 100 % of them."""
    pyright = shutil.which("pyright", path=os.path.dirname(sys.executable))
    if pyright is None:
        pytest.skip("pyright is not installed")
    path = f"{installed}{os.pathsep}{os.environ['PATH']}"
    done = run(pyright, "--verifytypes", "lazyguard", "--ignoreexternal", cwd=tmp_path, PATH=path)
    assert "Type completeness score: 100%" in done.stdout, done.stdout[-6000:]
    assert done.returncode == 0
