"""The command `lazyguard`.

Invariants: `main` returns the exit status, and raises for no arguments of the user: 0 without findings, 1 with
findings, 2 for bad arguments or output that cannot be written (of `status`: 0 pass, 1 warn, 2 fail). It is 128 and the
signal's number when interrupted (130 for Ctrl-C). Results go to stdout, all else to stderr; either can be closed, full,
or unable to print every character.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING

from lazyguard import __version__, _status
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def parser(*, status_alone: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the whole command; of `status` alone, which is a probe, without loading the audit."""
    top = argparse.ArgumentParser(
        prog="lazyguard",
        description="Find what makes a program slow or unable to start.",
        epilog="Begin with `lazyguard audit core`, where core is your package.",
    )
    top.add_argument("--version", action="version", version=f"lazyguard {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, declare: Callable[[argparse.ArgumentParser], object], *texts: str) -> None:
        brief, description, epilog = texts
        raw = argparse.RawDescriptionHelpFormatter
        declare(commands.add_parser(name, help=brief, description=description, epilog=epilog, formatter_class=raw))

    add("status", _status.declare, "show how running processes are", _status.DESCRIPTION, _status.EPILOG)
    if not status_alone:
        from lazyguard.audit import command

        brief = "import every module in a process of its own and name the lines that hang, fail or are slow"
        add("audit", command.declare, brief, command.DESCRIPTION, command.epilog("audit"))
        brief = "show a report that was saved as JSON: as a table, or as a page for a browser"
        add("report", command.declare_report, brief, command.REPORT_DESCRIPTION, command.epilog("report"))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; argv is without the program's name (default: sys.argv)."""
    _prepare_streams()
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        parser().print_help(sys.stderr)
        return 2
    try:
        arguments = parser(status_alone=words[0] == "status").parse_args(words)
        try:
            os.getcwd()
        except OSError as error:
            print(f"lazyguard: the current directory: {error.strerror}; change to one that exists", file=sys.stderr)
            return 2
        if arguments.command == "status":
            return _status.run(arguments)
        from lazyguard.audit import command

        return command.show(arguments) if arguments.command == "report" else command.run(arguments)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 2
    except ConfigurationError as error:
        print(f"lazyguard: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _drop_stdout()  # its reader has closed it
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _drop_stdout()
        print(f"lazyguard: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def _prepare_streams() -> None:
    """Open a stream that the shell has closed, and let each stream print every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="replace"))  # noqa: SIM115 - open until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Redirect stdout to nothing, so that the interpreter's last flush succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
