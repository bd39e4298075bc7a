"""The command `lazyguard audit`: its options, and what is done with what they say.

Invariants: what cannot be used is said before the first child starts. Results go to stdout, the rest to stderr. A
format of the report is a function in `output.files.FORMATS` and an option that names its file.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from contextlib import contextmanager, nullcontext
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from lazyguard.audit import against
from lazyguard.audit.output import files as formats
from lazyguard.audit.report.baseline import new, told
from lazyguard.audit.report.budget import for_nothing
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TextIO

    from lazyguard.audit.report.model import Report

DESCRIPTION = (
    "Imports every module of the targets, each in a process of its own under a time limit, and says for each how it "
    "went, which line is to blame, and which chain of imports led there."
)
EPILOG = """\
verdicts, worst first
  hangs            not done within --timeout; the line is the innermost one of the audited packages
  crashes          ended by a signal
  exits            SystemExit, os._exit, exec, or input() while it is imported
  fails            any other exception
  cannot-exit      a non-daemon thread (or an exit function) keeps the process
  leaves-children  a process that it started outlives it
  slow             took longer than --slow
  ok

times
  total      the import in a fresh interpreter: parents and all below included, the interpreter's start not
  own        the body of that module alone, without what it imports: a parent's cost is not its children's
  3rd party  bodies of modules outside the audited packages, the standard library among them

exit status
  0 every verdict is ok, no budget exceeded, nothing slower than --against
  1 not so   2 the arguments cannot be used   130 interrupted

examples
  lazyguard audit core                             a package and all below it, found in this directory
  lazyguard audit core --path src --timeout 2      where its top-level directory is elsewhere
  lazyguard audit core.tasks core.views --no-walk  these two and nothing else
  lazyguard audit core --python .venv/bin/python   in an environment where lazyguard is not installed
  lazyguard audit core --budget core.tasks=0.1 --forbid pandas
                                                   more under [tool.lazyguard.audit.budgets."core.tasks"]
  lazyguard audit core --baseline known.json       only what is new fails; known.json is from --json
  lazyguard audit core --against ../main           what became slower than in a worktree of main fails
  lazyguard audit core --github --junit junit.xml  in continuous integration
  lazyguard audit core.wsgi --no-walk --advice     what its import could do without, and what that saves
  lazyguard audit core --json before.json          to keep; later: --compare before.json
  lazyguard audit core --html report.html          to read in a browser
"""


OPTIONS = ("path", "python", "timeout", "slow", "jobs", "repeat", "walk", "fork", "advice")
"""What goes to `audit` as it is, and before what pyproject.toml says."""


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of the subcommand."""
    add = parser.add_argument
    add(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a package, with all below it, or a module: core, core.tasks",
    )
    add(
        "--path",
        metavar="DIR",
        help="the directory that has the top-level packages, put first on sys.path (default: .)",
    )
    add("--python", metavar="EXE", help="the interpreter to import with, 3.10 or newer (default: this one)")
    add("--timeout", type=float, metavar="S", help="seconds until an import counts as hanging (default: 5)")
    add("--slow", type=float, metavar="S", help="seconds from which an import counts as slow (default: 0.5)")
    add("--jobs", type=int, metavar="N", help="imports at a time (default: one a processor, 8 at most)")
    add("--repeat", type=int, metavar="N", help="import each N times, the fastest counts (default: 1)")
    add(
        "--walk",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="audit what is below packages (the default)",
    )
    add(
        "--fork",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="let forks with the dependencies loaded decide what is ok, quick and without a finding, and what fails as "
        "another module does in a fresh interpreter (default: from 12 modules on, on Linux, unless times are "
        "repeated); their times are put together, and marked ~",
    )
    add(
        "--budget",
        action="append",
        metavar="NAME=S",
        help="what a module may take, in seconds: core.tasks=0.1, 'core.*=0.3'; again for another",
    )
    add(
        "--forbid",
        action="append",
        metavar="NAME",
        help="a module that nothing may load while it is imported: pandas; again for another",
    )
    add(
        "--advice",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="find out which imports can be deferred and what that saves: each target is imported again without them",
    )
    declare_formats(parser)
    add(
        "--github",
        action="store_true",
        help="print annotations for a workflow of GitHub, and append to the summary of its step",
    )
    add("--schema", action="store_true", help="print the JSON schema of --json, and do nothing else")
    add(
        "--baseline",
        metavar="FILE",
        help="fail over what an earlier report (from --json) does not have: new verdicts, findings, budgets exceeded",
    )
    against.declare(parser)
    declare_looks(parser)
    add("--quiet", "-q", action="store_true", help="no progress")


def declare_formats(parser: argparse.ArgumentParser, but: str = "") -> None:
    """Adds the options that name a file for each format, but one."""
    texts = {
        "json": "write the report as JSON; - for stdout, in place of the table",
        "html": "write the report as a page for a browser, one file that needs no network; beside that of --compare",
        "junit": "write the verdicts as JUnit XML, a test case a module, for GitLab and Jenkins",
    }
    for name, text in texts.items():
        if name != but:
            parser.add_argument(f"--{name}", metavar="FILE", help=text)


def declare_looks(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how the table looks, and beside what."""
    add = parser.add_argument
    add("--compare", metavar="FILE", help="print an earlier report (from --json) beside this one")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour (default: auto; NO_COLOR is honoured)",
    )
    add("--plain", action="store_true", help="no colour and no progress bar: plain lines")


def run(arguments: argparse.Namespace) -> int:
    """Audits as the options and pyproject.toml say, writes what was found, and returns the exit status.

    Raises:
        ConfigurationError: an option, the table in pyproject.toml, a target or a file to write cannot be used; after
            the audit, that a budget was for none of its modules.
    """
    from lazyguard.audit.options import from_pyproject, with_given
    from lazyguard.audit.output import progress
    from lazyguard.audit.run import AuditInterrupted, audit

    if arguments.schema:
        print(formats.schema(), end="", flush=True)
        return 0
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    places = [arguments.path, "."] if arguments.path else ["."]
    options: dict[str, Any] = from_pyproject(places)
    options.update((key, given[key]) for key in OPTIONS if key in given)
    targets = arguments.targets or options.pop("targets", [])
    options.pop("targets", None)
    if not targets:
        raise ConfigurationError(
            "name what to audit, such as `lazyguard audit core`, or targets in [tool.lazyguard.audit]"
        )
    is_whole = not arguments.targets and arguments.walk is None
    meant = {*(options.get("budgets", ()) if is_whole else ())} - {"*"}
    meant.update(text.partition("=")[0] for text in arguments.budget or ())
    options["budgets"] = with_given(options.get("budgets", {}), arguments.budget or (), arguments.forbid or ())
    other = earlier("compare", arguments.compare) if arguments.compare else None
    known = earlier("baseline", arguments.baseline) if arguments.baseline else None
    if arguments.against:
        against.check(arguments.against)
    files = {name: given[name] for name in formats.FORMATS if name in given}
    formats.check(files)
    status = 0
    with progress.shown(plain=arguments.plain) as shown:
        try:
            report = audit(
                targets,
                progress=None if arguments.quiet else shown.module,
                advising=None if arguments.quiet else shown.advice,
                **options,
            )
            if arguments.against:
                report = against.measured(report, targets, arguments.against, options, quiet=arguments.quiet)
            status = 1 if (report.found if known is None else new(report, known)) else 0
        except AuditInterrupted as interrupted:
            report, status = interrupted.report, 128 + interrupted.signal
    formats.write(report, files, other)
    if "-" not in files.values():
        with _no_commands() if arguments.github else nullcontext():
            show(report, other, arguments)
            if known is not None:
                print(told(report, known, arguments.baseline), flush=True)
    if arguments.github:
        _annotate(report, sys.stderr if "-" in files.values() else sys.stdout)
    wrong = for_nothing(sorted(meant), [*(module.module for module in report.modules), *report.pending])
    if wrong and status in (0, 1):
        raise ConfigurationError("; ".join(wrong))
    return status


@contextmanager
def _no_commands() -> Generator[None]:
    """Has GitHub take nothing that is printed meanwhile, such as a message of an exception, for a command."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}")
    try:
        yield
    finally:
        print(f"::{token}::", flush=True)


def _annotate(report: Report, stream: TextIO) -> None:
    from lazyguard.audit.output.github import tell

    try:
        lines = tell(report, os.environ)
    except OSError as error:
        raise ConfigurationError(f"--github: $GITHUB_STEP_SUMMARY cannot be written: {error.strerror}") from error
    stream.write(lines)
    stream.flush()


def show(report: Report, other: Report | None, arguments: argparse.Namespace) -> None:
    """Prints the table, in the colours that were asked for."""
    from lazyguard.audit.output.text import table

    wanted = arguments.color == "always" or (
        arguments.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    width = get_terminal_size().columns if sys.stdout.isatty() else 0
    print(table(report, other, color=wanted and not arguments.plain, width=width), flush=True)
    if report.advice:
        from lazyguard.audit.advice.text import advised

        print("\n" + advised(report), flush=True)


def earlier(option: str, file: str) -> Report:
    """Returns the report in a file that the option, or the argument itself (""), names.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    from lazyguard.audit.report.model import Report

    named = f"--{option} {file}" if option else file
    try:
        with open(file, encoding="utf-8") as stream:
            return Report.from_dict(json.load(stream))
    except OSError as error:
        raise ConfigurationError(f"{named} cannot be read: {error.strerror}; write it with --json") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{named}: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{named} is not JSON: {error}; write it with --json") from error
