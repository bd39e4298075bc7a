"""The command `lazyguard report`: shows a report that was kept as JSON, imports nothing and judges nothing.

Invariants: what is written is what `lazyguard audit` would have written then; but no line of a source is, unless --path
says where the sources are, since the file may be from anybody and name any file. The exit status is that of the audit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lazyguard.audit import command
from lazyguard.audit.output import files as formats

if TYPE_CHECKING:
    import argparse

DESCRIPTION = (
    "Shows what `lazyguard audit --json` or `lazyguard.track_imports` has written: as the table, as a page for a "
    "browser, as JUnit XML. Nothing is imported."
)
EPILOG = """\
exit status
  0 every verdict is ok, no budget exceeded   1 not so   2 the arguments cannot be used

examples
  lazyguard report after.json                                          the table
  lazyguard report after.json --compare before.json --html report.html both, to read in a browser
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of the subcommand."""
    add = parser.add_argument
    add("file", metavar="FILE", help="the report, as JSON")
    add("--path", metavar="DIR", help="where the audited sources are, to show their lines in the page")
    command.declare_formats(parser, but="json")
    command.declare_looks(parser)


def run(arguments: argparse.Namespace) -> int:
    """Shows the report as the options say, and returns the exit status.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    report = command.earlier("", arguments.file)
    other = command.earlier("compare", arguments.compare) if arguments.compare else None
    report = replace(report, path=arguments.path or "")
    files = {name: file for name in formats.FORMATS if (file := getattr(arguments, name, None)) is not None}
    formats.check(files)
    formats.write(report, files, other)
    if "-" not in files.values():
        command.show(report, other, arguments)
    return 1 if report.found else 0
