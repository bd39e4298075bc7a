"""What is to be audited, and how: options checked, targets found by the target's own interpreter, code compiled.

Invariants: nothing of the target is imported here. What cannot be right is a ConfigurationError that says how to mend
it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from lazyguard._base import validation
from lazyguard._base.places import shown
from lazyguard.audit import target
from lazyguard.audit.processes.programs import ask, run_quietly
from lazyguard.audit.report.budget import is_pattern
from lazyguard.audit.target.child import SETUP
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lazyguard.audit.report.budget import Budget

PROBE_LIMIT = 60.0
# Seconds for the interpreter to start on a busy machine, beside the time limit.
START_UP_GRACE = 5.0
# Seconds from which a file that each start runs is named.
WORTH_TELLING = 0.05
COMPILE_LIMIT = 300.0
OLDEST = (3, 10)
# One directory or several.
Directories = Union[str, "os.PathLike[str]", "Sequence[str | os.PathLike[str]]"]
# The most stack samples of one import.
SAMPLES = 50


@dataclass(frozen=True)
class Settings:
    """How to audit. Durations are seconds.

    Attributes:
        timeout: an import that takes longer hangs.
        slow: an import that takes longer is slow.
        jobs: children at a time; None: as many as there are processors, 8 at most.
        repeat: how many times each module is imported; the fastest counts.
        walk: whether a package stands for all that is below it, too.
        python: the interpreter, used as it is named: a virtual environment's link is not resolved.
        env: the environment of the children; None: this process's.
        budgets: what modules may take, by their names or patterns of them.
        path: the directories that come first on sys.path; or one.
        exclude: names or patterns of what is left out, with all below it.
        setup: statements that are run before each import.
        memory: the most megabytes of a child; None: no limit.
        shard: "2/4" for the second of every four modules; None: all.
    """

    path: Directories = "."
    python: str = sys.executable
    timeout: float = 5.0
    slow: float = 0.5
    jobs: int | None = None
    repeat: int = 1
    walk: bool = True
    env: Mapping[str, str] | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict[str, "Budget"])
    exclude: Sequence[str] = ()
    setup: str = ""
    memory: int | None = None
    shard: str | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "slow"):
            validation.seconds(name, getattr(self, name))
        for name in ("jobs", "repeat", "memory"):
            validation.whole(name, getattr(self, name), optional=name != "repeat")
        paths = self.paths
        if not paths or not all(isinstance(each, str) for each in paths):
            raise ConfigurationError(f"path={shown(self.path)} is not right; give a directory, or several")
        validation.text("python", self.python)
        validation.text("setup", self.setup)
        for pattern in validation.names("exclude", self.exclude):
            if not is_pattern(pattern):
                raise ConfigurationError(f"exclude {shown(pattern)} names no module; give core.legacy, or core.*_test")
        try:
            compile(self.setup, SETUP, "exec")
        except (SyntaxError, ValueError) as error:
            raise ConfigurationError(f"setup {shown(self.setup)} is no Python: {error}") from error
        validation.flag("walk", self.walk)
        number, count = self.part
        if not 1 <= number <= count:
            raise ConfigurationError(f"shard {shown(self.shard)} is no part of the modules; give one such as 2/4")
        for name, value in validation.mapping("env", self.env).items():
            validation.text("the name of a variable in env", name)
            validation.text(f"env[{name!r}]", value)
        for path in paths:
            if not os.path.isdir(path):
                there = "is a file, not a directory" if os.path.exists(path) else "does not exist"
                raise ConfigurationError(f"path {path} {there}; give the directory that the top-level packages are in")

    @property
    def paths(self) -> tuple[str, ...]:
        several: Any = self.path if isinstance(self.path, list | tuple) else [self.path]
        return tuple(os.fspath(each) if isinstance(each, os.PathLike) else each for each in several)

    @property
    def part(self) -> tuple[int, int]:
        """Which of how many parts of the modules it is; (0, 0) where it is none."""
        given: Any = "1/1" if self.shard is None else self.shard
        found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", given) if isinstance(given, str) else None
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def children_at_a_time(self) -> int:
        affinity = getattr(os, "sched_getaffinity", None)
        return self.jobs or min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ if self.env is None else self.env

    @property
    def period(self) -> float:
        """Seconds between two samples: a whole part of the time limit, so that the last is taken at the limit."""
        wanted = max(self.timeout / SAMPLES, min(self.slow / 2, self.timeout))
        return self.timeout / max(1, round(self.timeout / wanted))


@dataclass(frozen=True)
class Plan:
    """The modules to import, in order, with the interpreter's version and what is first-party."""

    python: str
    # The audited directories, as sys.path has them: parted by colons.
    path: str
    modules: tuple[str, ...]
    # The files of each top-level name among the targets: directories, which end in a slash, or a file.
    roots: Mapping[str, tuple[str, ...]]
    sys_path: tuple[str, ...]
    # Modules that were found and left out.
    passed_over: tuple[str, ...] = ()
    # The patterns that fit none of them.
    idle: tuple[str, ...] = ()
    # The files that the interpreter runs at each start, with the seconds, where that is much.
    start_up: tuple[tuple[str, float], ...] = ()
    # How many modules there are in all parts.
    whole: int = 0

    def first_party(self, module: str) -> tuple[str, ...]:
        """Return the roots that are first-party to a module: installed targets only where it belongs to them."""
        top = module.partition(".")[0]
        return tuple(
            root for name, roots in self.roots.items() for root in roots if name == top or not is_installed(root)
        )


def is_installed(root: str) -> bool:
    """Return whether a root lies where packages are installed."""
    return "/site-packages/" in root or "/dist-packages/" in root


def plan(targets: Sequence[str], settings: Settings, *, stop: Callable[[], bool] = lambda: False) -> Plan:
    """Return what is to be audited.

    Raises:
        ConfigurationError: a target that is not there, an interpreter that cannot be used.
    """
    targets = () if isinstance(targets, str) else validation.names("targets", targets)
    if not targets:
        raise ConfigurationError('no target; give the names of packages or modules, such as ["core", "core.tasks"]')
    if not os.path.isfile(target.CHILD):
        raise ConfigurationError(
            f"lazyguard is in a zip file ({target.CHILD}), and an audit runs files of its own in other interpreters: "
            "install it in a directory, with pip install lazyguard"
        )
    path = os.pathsep.join(map(os.path.abspath, settings.paths))
    command = settings.python, "-S", target.CHILD, "start_up"
    interpreter, newer = f"the interpreter {settings.python}", f"a Python of {OLDEST[0]}.{OLDEST[1]} or newer"
    limit = settings.timeout + START_UP_GRACE
    began = time.monotonic()
    arguments = (repr(limit), path, "1" if settings.walk else "0", ",".join(settings.exclude), *targets)
    try:
        found, why = ask(command, *arguments, limit=PROBE_LIMIT, env=settings.environment, stop=stop)
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{interpreter} cannot be started ({reason}); name {newer}") from error
    if found is not None and found.get("loading"):
        end = f"is not done after {limit:g} s" if time.monotonic() - began >= limit else why
        raise ConfigurationError(
            f"{interpreter} does not start: {found['loading']}, which it runs at each start, {end}"
        )
    if found is None or "version" not in found:
        raise ConfigurationError(f"{interpreter} cannot find the targets: it {why}; it must be {newer}")
    if tuple(found["version"]) < OLDEST:
        raise ConfigurationError(f"{interpreter} is Python {found['python']}; name {newer}")
    if found["problems"]:
        raise ConfigurationError("; ".join(found["problems"]))
    number, count = settings.part
    roots = {name: tuple(files) for name, files in found["roots"].items()}
    return Plan(
        found["python"],
        path,
        tuple(found["modules"][number - 1 :: count]),
        roots,
        tuple(found["sys_path"]),
        tuple(found["passed_over"]),
        tuple(found["idle"]),
        tuple((file, taken) for file, taken in found["start_up"] if taken > WORTH_TELLING),
        len(found["modules"]),
    )


def compile_first(plan: Plan, settings: Settings, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Have the interpreter write byte code where it may: compiling costs an import four times its usual time and more.

    Where it may not (a read-only tree, PYTHONDONTWRITEBYTECODE) this does nothing, as an import would.
    """
    if settings.environment.get("PYTHONDONTWRITEBYTECODE"):
        return
    tops = {module.partition(".")[0] for module in plan.modules}
    files = {os.path.realpath(root) for top in tops for root in plan.roots.get(top, ()) if not is_installed(root)}
    roots = sorted(file for file in files if os.access(file, os.W_OK))
    if roots:
        command = [settings.python, "-m", "compileall", "-q", "-q", "-x", r"/(site|dist)-packages/", *roots]
        run_quietly(command, limit=COMPILE_LIMIT, env=settings.environment, stop=stop)
