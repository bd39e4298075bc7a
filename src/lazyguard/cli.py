"""The command `lazyguard`.

Invariants: `main` returns the exit status and never raises for what a user typed: 0 nothing found, 1 findings, 2
arguments that cannot be used, 128 and the signal's number when interrupted (130 for Ctrl-C). Results go to stdout,
the rest to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from lazyguard import __version__
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
  0 every verdict is ok   1 some are not   2 the arguments cannot be used   130 interrupted

examples
  lazyguard audit core                             a package and all below it, found in this directory
  lazyguard audit core --path src --timeout 2      where its top-level directory is elsewhere
  lazyguard audit core.tasks core.views --no-walk  these two and nothing else
  lazyguard audit core --python .venv/bin/python   in an environment where lazyguard is not installed
  lazyguard audit core --json before.json          to keep; later: --compare before.json
"""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command."""
    top = argparse.ArgumentParser(prog="lazyguard", description="Find what makes a program slow or unable to start.")
    top.add_argument("--version", action="version", version=f"lazyguard {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    audit = commands.add_parser(
        "audit",
        help="import every module in a process of its own and name the lines that hang, fail or cost",
        description="Imports every module of the targets, each in a process of its own under a time limit, and says "
        "for each how it went, which line is to blame, and which chain of imports led there.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = audit.add_argument
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
    add("--json", metavar="FILE", help="write the report as JSON; - for stdout, in place of the table")
    add("--compare", metavar="FILE", help="print an earlier report (from --json) beside this one")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour (default: auto; NO_COLOR is honoured)",
    )
    add("--plain", action="store_true", help="no colour and no progress bar: plain lines")
    add("--quiet", "-q", action="store_true", help="no progress")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; argv is without the program's name (default: sys.argv)."""
    try:
        arguments = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 2
    try:
        return _audit(arguments)
    except ConfigurationError as error:
        print(f"lazyguard: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of stdout has gone: let the interpreter's last flush find nothing to complain about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _audit(arguments: argparse.Namespace) -> int:
    from lazyguard.audit.options import from_pyproject
    from lazyguard.audit.progress import shown
    from lazyguard.audit.run import AuditInterrupted, audit

    given = {key: value for key, value in vars(arguments).items() if value is not None}
    places = [arguments.path, "."] if arguments.path else ["."]
    options: dict[str, Any] = from_pyproject(places)
    options.update(
        (key, given[key]) for key in ("path", "python", "timeout", "slow", "jobs", "repeat", "walk") if key in given
    )
    targets = arguments.targets or options.pop("targets", [])
    options.pop("targets", None)
    if not targets:
        raise ConfigurationError(
            "name what to audit, such as `lazyguard audit core`, or targets in [tool.lazyguard.audit]"
        )
    other = _earlier(arguments.compare) if arguments.compare else None
    if arguments.json and arguments.json != "-" and not os.path.isdir(os.path.dirname(arguments.json) or "."):
        raise ConfigurationError(f"--json {arguments.json}: there is no such directory; make it first")
    status = 0
    with shown(plain=arguments.plain) as progress:
        try:
            report = audit(targets, progress=None if arguments.quiet else progress, **options)
            status = 1 if report.found else 0
        except AuditInterrupted as interrupted:
            report, status = interrupted.report, 128 + interrupted.signal
    _write(report, other, arguments)
    return status


def _write(report: Any, other: Any, arguments: argparse.Namespace) -> None:
    from lazyguard.audit.render import table

    if arguments.json == "-":
        json.dump(report.to_dict(), sys.stdout, indent=2)
        print(flush=True)
        return
    if arguments.json:
        try:
            with open(arguments.json, "w", encoding="utf-8") as file:
                json.dump(report.to_dict(), file, indent=2)
                file.write("\n")
        except OSError as error:
            raise ConfigurationError(f"--json {arguments.json} cannot be written: {error.strerror}") from error
    wanted = arguments.color == "always" or (
        arguments.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    print(table(report, other, color=wanted and not arguments.plain), flush=True)


def _earlier(file: str) -> Any:
    from lazyguard.audit.report import Report

    try:
        with open(file, encoding="utf-8") as stream:
            data = json.load(stream)
    except OSError as error:
        raise ConfigurationError(f"--compare {file} cannot be read: {error.strerror}; write it with --json") from error
    except ValueError as error:
        raise ConfigurationError(f"--compare {file} is not JSON: {error}; write it with --json") from error
    try:
        return Report.from_dict(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"--compare {file}: {error}") from error
