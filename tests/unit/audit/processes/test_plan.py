"""Settings and targets that cannot be right."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from lazyguard.audit import target
from lazyguard.audit.processes.plan import Plan, Settings, plan
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1.0}, "timeout=-1.0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"slow": 0}, "slow=0"),
        ({"jobs": 0}, "jobs=0"),
        ({"jobs": True}, "jobs=True"),
        ({"repeat": 0}, "repeat=0"),
        ({"repeat": 1.5}, "repeat=1.5"),
        *(({"shard": each}, "is no part of the modules") for each in ("", "3", "0/4", "5/4", "1/2/3", "1/", "-1/2", 0)),
        ({"path": "/no/such/directory"}, "does not exist"),
        ({"path": __file__}, "is a file, not a directory"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused(options: dict[str, Any], said: str) -> None:
    """Each says what is wrong before any process is started."""
    with pytest.raises(ConfigurationError, match=said):
        Settings(**options)


@pytest.mark.parametrize(("timeout", "slow"), [(5.0, 0.5), (1.0, 0.5), (0.1, 5.0), (60.0, 0.01), (1.0, 0.3)])
def test_the_last_sample_falls_on_the_time_limit(timeout: float, slow: float) -> None:
    """The dump that names a hanging line is the one at the limit; there are not too many before it."""
    count = timeout / Settings(timeout=timeout, slow=slow).period
    assert count == pytest.approx(round(count))
    assert 1 <= round(count) <= 50


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package, a directory with a module and no __init__.py, one without any, a module, and a package that raises."""
    for name in ("core/__init__.py", "core/tasks.py", "core/__main__.py", "core/sub/__init__.py", "core/sub/deep.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    (tmp_path / "loose" / "inner").mkdir(parents=True)
    (tmp_path / "loose" / "part.py").touch()
    (tmp_path / "loose" / "inner" / "piece.py").touch()
    (tmp_path / "hollow").mkdir()
    (tmp_path / "single.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("targets", "walk", "modules"),
    [
        (["core"], True, ["core", "core.sub", "core.sub.deep", "core.tasks"]),
        (["core"], False, ["core"]),
        (["core.tasks", "core"], True, ["core.tasks", "core", "core.sub", "core.sub.deep"]),
        (["core.sub.deep"], True, ["core.sub.deep"]),
        (["single"], True, ["single"]),
        (["loose"], True, ["loose.part", "loose.inner.piece"]),
    ],
)
def test_targets_are_found_without_importing_them(
    tree: Path, targets: list[str], walk: bool, modules: list[str]
) -> None:
    """A package stands for all below it, `__main__` left out, in order and none twice; nothing of it runs."""
    found = plan(targets, Settings(path=str(tree), walk=walk))
    assert list(found.modules) == modules
    assert found.python == ".".join(map(str, sys.version_info[:3])) or sys.version_info.releaselevel != "final"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("cor", "there is no module cor .*did you mean core?"),
        ("core.taks", "in the package core; did you mean core.tasks?"),
        ("single.part", "single is a module, not a package"),
        ("core/tasks.py", "is a path; give the module's name: core.tasks$"),
        ("core/__init__.py", "is a path; give the module's name: core$"),
        ("core/sub/", "is a path; give the module's name: core.sub$"),
        ("loose/part.py", "is a path; give the module's name: part with --path .*loose$"),
        ("nowhere/", "there is no such file"),
        ("part", "there is no module part in .*, but one in .*loose: give --path .*loose$"),
        (".core", "is not the name of a module"),
        ("core.", "is not the name of a module"),
        ("", "is not the name of a module"),
        ("hollow", "without __init__.py and with no module in it"),
    ],
)
def test_a_target_that_is_not_there_is_reported(tree: Path, target: str, said: str) -> None:
    """The message says what is wrong and what to write in its place."""
    with pytest.raises(ConfigurationError, match=said):
        plan([target], Settings(path=str(tree)))


@pytest.mark.parametrize("targets", [[], "core"])
def test_targets_are_a_list_of_names(targets: Any) -> None:
    """No target, or a string in place of a list, is refused."""
    with pytest.raises(ConfigurationError, match="no target"):
        plan(targets, Settings())


def test_an_interpreter_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    """One that is not there, and one that is no Python."""
    with pytest.raises(ConfigurationError, match="cannot be started"):
        plan(["json"], Settings(python=str(tmp_path / "python")))
    with pytest.raises(ConfigurationError, match="must be a Python of 3\\.10 or newer"):
        plan(["json"], Settings(python="/bin/false"))


def test_a_lazyguard_that_is_no_directory_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit that is run out of a zip file has nothing to run in another interpreter."""
    monkeypatch.setattr(target, "CHILD", "/app.pyz/lazyguard/audit/target/child.py")
    with pytest.raises(ConfigurationError, match="is in a zip file"):
        plan(["json"], Settings())


def test_an_installed_target_is_first_party_only_to_its_own_modules() -> None:
    """A library audited beside the program does not take the blame for what the program asks of it."""
    roots = {"core": ("/app/core/",), "plugins": ("/app/plugins/",), "redis": ("/v/site-packages/redis/",)}
    found = Plan("3.11.7", "/app", (), roots, ())
    assert found.first_party("core.tasks") == ("/app/core/", "/app/plugins/")
    assert found.first_party("redis.client") == ("/app/core/", "/app/plugins/", "/v/site-packages/redis/")


def test_a_target_that_the_path_is_inside_of_is_reported(tree: Path) -> None:
    """A user in the package's own directory is advised to stand beside it."""
    with pytest.raises(ConfigurationError, match=r"no module core in .*core, but one in .*: give --path"):
        plan(["core"], Settings(path=str(tree / "core")))
