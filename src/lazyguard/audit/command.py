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
from importlib.resources import files
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
    from collections.abc import Generator
    from typing import TextIO

DESCRIPTION = (
    "Imports every module of the targets, each in a process of its own under a time limit, and says for each how it "
    "went, which line is to blame, and which chain of imports led there."
)
REPORT_DESCRIPTION = (
    "Shows what `lazyguard audit --json` or `lazyguard.track_imports` has written: as the table, as a page for a "
    "browser, as JUnit XML. The parts of one audit (--shard) can be combined. Nothing is imported."
)


def epilog(name: str) -> str:
    """Return what the help of a command ends with."""
    return files("lazyguard.audit").joinpath(f"help/{name}.txt").read_text(encoding="utf-8")


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
    add("--schema", action="store_true", help="print the JSON schema of --json, and do nothing else")
    add(
        "--against",
        metavar="DIR",
        help="the --path of another state of the program, such as a git worktree of main: both are measured by turns, "
        "and a module that became slower, beyond the allowance of its budget, fails",
    )
    _declare_shown(parser)
    add("--quiet", "-q", action="store_true", help="no progress")


def declare_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lazyguard report` to its parser."""
    parser.add_argument("files", nargs="+", metavar="[combine] FILE", help="the report as JSON, or all parts of one")
    parser.add_argument("--path", metavar="DIR", help="where the audited sources are, to show their lines in the page")
    _declare_shown(parser)


def _declare_shown(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a report goes, how it looks, and beside what."""
    add = parser.add_argument
    texts = {
        "json": "write the report as JSON; - for stdout, in place of the table",
        "html": "write the report as a page for a browser, one file that needs no network; beside that of --compare",
        "junit": "write the verdicts as JUnit XML, a test case a module, for GitLab and Jenkins",
    }
    for name in FORMATS:
        add(f"--{name}", metavar="FILE", help=texts[name])
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
    if not files or (len(files) > 1 and not join):
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
        earlier = {"compare": arguments.compare, "baseline": arguments.baseline}
        read = {option: _read(file, f"--{option} {file}") for option, file in earlier.items() if file}
        self.other, self.known = read.get("compare"), read.get("baseline")
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
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{named} is not JSON: {error}; write it with --json") from error
