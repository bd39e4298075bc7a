"""The commands `lazyguard audit` and `lazyguard report`: their options, and what is done with what they say.

Invariants: what cannot be used is an error before the first child starts. Results go to stdout, the rest to stderr. A
format of the report is a function in `output.files.FORMATS` and an option that names its file. `report` imports nothing
of the program and judges nothing: it writes what the audit would have written then, and exits as that did. No line of a
source is in it unless --path says where the sources are, since a stranger's report may name any file.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from lazyguard.audit import against, django
from lazyguard.audit.combine import combined
from lazyguard.audit.options import OPTIONS, from_pyproject, with_given
from lazyguard.audit.output.files import FORMATS, check, schema, write
from lazyguard.audit.report.baseline import new, summary
from lazyguard.audit.report.budget import unused
from lazyguard.audit.report.model import Report
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import TextIO

DESCRIPTION = (
    "Imports every module of the targets, each in a process of its own under a time limit, and says for each how it "
    "went, which line is to blame, and which chain of imports led there."
)
EPILOG = """\
verdicts, worst first
  hangs            not done within --timeout; the line is that of a module, the innermost ones follow
  crashes          ended by a signal
  exits            SystemExit, os._exit, exec, or input() while it is imported
  fails            any other exception
  cannot-exit      a non-daemon thread (or an exit function) keeps the process
  leaves-children  a process that it started outlives it
  slow             took longer than --slow
  not-installed    an optional dependency is missing; no fault unless --strict
  other-platform   it is for another operating system; no fault unless --strict
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
REPORT_DESCRIPTION = (
    "Shows what `lazyguard audit --json` or `lazyguard.track_imports` has written: as the table, as a page for a "
    "browser, as JUnit XML. The parts of one audit (--shard) can be combined. Nothing is imported."
)
REPORT_EPILOG = """\
exit status
  0 every verdict is ok, no budget exceeded   1 not so   2 the arguments cannot be used

examples
  lazyguard report after.json                                          the table
  lazyguard report after.json --compare before.json --html report.html both, to read in a browser
  lazyguard report combine 1.json 2.json 3.json --json all.json        the parts that --shard 1/3 and so on have made
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lazyguard audit` to its parser."""
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="a package, with all below it, or a module: core, core.tasks")
    for name, option in OPTIONS.items():
        kind = option.kinds[0]
        if kind is bool:
            add(f"--{name}", help=option.text, action=argparse.BooleanOptionalAction, default=None)
        elif option.metavar:
            how: dict[str, Any] = {"action": "append"} if kind is list else {"type": kind}
            add(f"--{name}", metavar=option.metavar, help=option.text, **how)
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
    _declare_formats(parser, FORMATS)
    add("--schema", action="store_true", help="print the JSON schema of --json, and do nothing else")
    add(
        "--against",
        metavar="DIR",
        help="the --path of another state of the program, such as a git worktree of main: both are measured by turns, "
        "and a module that became slower, beyond the allowance of its budget, fails",
    )
    _declare_table(parser)
    add("--quiet", "-q", action="store_true", help="no progress")


def declare_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lazyguard report` to its parser."""
    parser.add_argument("files", nargs="+", metavar="[combine] FILE", help="the report as JSON, or all parts of one")
    parser.add_argument("--path", metavar="DIR", help="where the audited sources are, to show their lines in the page")
    _declare_formats(parser, FORMATS)
    _declare_table(parser)


def _declare_formats(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add the options that name a file for each of some formats."""
    texts = {
        "json": "write the report as JSON; - for stdout, in place of the table",
        "html": "write the report as a page for a browser, one file that needs no network; beside that of --compare",
        "junit": "write the verdicts as JUnit XML, a test case a module, for GitLab and Jenkins",
    }
    for name in names:
        parser.add_argument(f"--{name}", metavar="FILE", help=texts[name])


def _declare_table(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the table looks, and beside what."""
    add = parser.add_argument
    add(
        "--baseline",
        metavar="FILE",
        help="fail over what an earlier report (from --json) does not have: new verdicts, findings, budgets exceeded",
    )
    add(
        "--github",
        action="store_true",
        help="print annotations for a workflow of GitHub, and append to the summary of its step",
    )
    add("--compare", metavar="FILE", help="print an earlier report (from --json) beside this one")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour (default: auto; NO_COLOR is honoured)",
    )
    add("--plain", action="store_true", help="no colour and no progress bar: plain lines")


def run(arguments: argparse.Namespace) -> int:
    """Audit as the options and pyproject.toml say, write what was found, and return the exit status.

    Raises:
        ConfigurationError: an option, the table in pyproject.toml, a target or a file to write cannot be used; after
            the audit, that a budget was for none of its modules.
    """
    from lazyguard.audit.output import progress
    from lazyguard.audit.run import AuditInterrupted, audit

    if arguments.schema:
        print(schema(), end="", flush=True)
        return 0
    options, targets, named = _options(arguments)
    strict = options.pop("strict", False)
    publication = _Publication(arguments)
    if arguments.against:
        against.check(arguments.against)
    with progress.shown(plain=arguments.plain) as display:
        try:
            report = audit(
                targets,
                progress=None if arguments.quiet else display.module,
                advising=None if arguments.quiet else display.advice,
                **options,
            )
            if arguments.against:
                report = against.measured(report, targets, arguments.against, options, quiet=arguments.quiet)
            report, interrupted = replace(report, strict=strict), 0
        except AuditInterrupted as came:
            report, interrupted = came.report, 128 + came.signal
    status = interrupted or publication.status(report)
    publication.publish(report)
    wrong = unused(sorted(named), [*(module.module for module in report.modules), *report.pending])
    if wrong and not interrupted and report.shard is None:
        raise ConfigurationError("; ".join(wrong))
    return status


def show(arguments: argparse.Namespace) -> int:
    """Show a report that was kept as JSON as the options say, and return the exit status.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    join, *files = arguments.files if arguments.files[0] == "combine" else ("", *arguments.files)
    if bool(join) != (len(files) > 1):
        raise ConfigurationError("name one report, or all parts of one: lazyguard report combine 1.json 2.json")
    parts = {file: _read(file, file) for file in files}
    report = combined(parts) if join else parts[files[0]]
    publication = _Publication(arguments)
    publication.publish(report, replace(report, path=arguments.path or "", paths=()))
    return publication.status(report)


class _Publication:
    """Where a report goes, and beside what: all that can be wrong of it is an error at once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.other: Report | None = _earlier("compare", arguments.compare)
        self.known: Report | None = _earlier("baseline", arguments.baseline)
        self.files: dict[str, str] = {name: file for name in FORMATS if (file := getattr(arguments, name)) is not None}
        check(self.files)

    def status(self, report: Report) -> int:
        """Return the exit status."""
        return 1 if (report.found if self.known is None else new(report, self.known)) else 0

    def publish(self, report: Report, shown: Report | None = None) -> None:
        """Write the files, print the table unless a file is stdout, and annotate.

        `shown` is the report with the directories that sources may be read from, where those are others than its own.
        """
        for option, file in self.files.items():
            write(report if option == "json" else shown or report, {option: file}, self.other)
        report = shown or report
        given, printed = self.arguments, "-" not in self.files.values()
        if printed:
            with _no_commands() if given.github else nullcontext():
                _print(report, self.other, given)
                if self.known is not None:
                    print(summary(report, self.known, given.baseline), flush=True)
        if given.github:
            _annotate(report, sys.stdout if printed else sys.stderr)


def _options(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str], set[str]]:
    """Return the options of `audit`, its targets, and the names whose budgets must be for some module."""
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    options: dict[str, Any] = from_pyproject([*(arguments.path or ()), "."])
    options.update((key, given[key]) for key, option in OPTIONS.items() if option.metavar and key in given)
    wanted = options.pop("django", None)
    if wanted or (wanted is None and "setup" not in options and os.environ.get(django.SETTINGS)):
        options["setup"] = "\n".join((django.setup(options.get("path", ".")), options.get("setup", "")))
    configured = options.pop("targets", [])
    targets = arguments.targets or configured
    if not targets:
        raise ConfigurationError(
            "name what to audit, such as `lazyguard audit core`, or targets in [tool.lazyguard.audit]"
        )
    budgets, times = options.get("budgets", {}), arguments.budget or ()
    is_whole = not arguments.targets and arguments.walk is None
    named = {*(budgets if is_whole else ())} - {"*"} | {text.partition("=")[0] for text in times}
    options["budgets"] = with_given(budgets, times, arguments.forbid or ())
    return options, targets, named


@contextmanager
def _no_commands() -> Generator[None]:
    """Keep GitHub from taking what is printed meanwhile, such as a message of an exception, for a command."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}")
    try:
        yield
    finally:
        print(f"::{token}::", flush=True)


def _annotate(report: Report, stream: TextIO) -> None:
    from lazyguard.audit.output.github import publish

    try:
        lines = publish(report, os.environ)
    except OSError as error:
        raise ConfigurationError(f"--github: $GITHUB_STEP_SUMMARY cannot be written: {error.strerror}") from error
    stream.write(lines)
    stream.flush()


def _print(report: Report, other: Report | None, arguments: argparse.Namespace) -> None:
    """Print the table, in the colours that were asked for, and the advice."""
    from lazyguard.audit.output.text import table

    wanted = arguments.color == "always" or (
        arguments.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    width = get_terminal_size().columns if sys.stdout.isatty() else 0
    print(table(report, other, color=wanted and not arguments.plain, width=width), flush=True)
    if report.advice:
        from lazyguard.audit.advice.text import advice

        print("\n" + advice(report), flush=True)


def _earlier(option: str, file: str | None) -> Report | None:
    """Return the report in the file that an option names, where it names one."""
    return _read(file, f"--{option} {file}") if file else None


def _read(file: str, named: str) -> Report:
    """Return the report in a file.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            return Report.from_dict(json.load(stream))
    except OSError as error:
        raise ConfigurationError(f"{named} cannot be read: {error.strerror}; write it with --json") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{named}: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{named} is not JSON: {error}; write it with --json") from error
