"""The command `lazyguard`, and `lazyguard status`: how one or many processes are, by their health paths or files.

Invariants: `main` returns the exit status, and raises for no arguments of the user: 0 without findings, 1 with
findings, 2 for bad arguments or output that cannot be written (of `status`: 0 pass, 1 warn, 2 fail). It is 128 and the
signal's number when interrupted (130 for Ctrl-C). Results go to stdout, all else to stderr; either can be closed, full,
or unable to print every character. `status` reads JSON, and imports nothing of the application. What cannot be read, or
is too old, is a process that fails, and the others are shown all the same.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from lazyguard import __version__
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_EXIT = {"pass": 0, "warn": 1, "fail": 2}
_DESCRIPTION = """\
Show how processes are, by the health path of each (http://127.0.0.1:8000/healthz) or by the file that
lazyguard.health_file writes. The exit status is 0 for pass, 1 for warn, 2 for fail. What cannot be read fails."""
_EPILOG = "Such as: lazyguard status http://127.0.0.1:8000/healthz /run/shop/worker.json --max-age 30"
# Seconds for one answer.
_ANSWER = 5.0
_COLUMNS = ("process", "name", "state", "since", "why", "by fallbacks")


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

    add("status", _declare_status, "show how running processes are", _DESCRIPTION, _EPILOG)
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
            return _status(arguments)
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


def _declare_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("source", nargs="+", metavar="URL|FILE", help="a health path, or a file of health_file")
    parser.add_argument("--json", action="store_true", help="print what was read, as one JSON object by source")
    parser.add_argument("--all", action="store_true", help="show also what is well")
    parser.add_argument(
        "--watch", nargs="?", type=_seconds, const=2.0, metavar="SECONDS", help="show it again and again"
    )
    parser.add_argument("--wait", type=_seconds, metavar="SECONDS", help="wait so long until nothing fails")
    parser.add_argument("--max-age", type=_seconds, metavar="SECONDS", help="a file that is older fails")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is out of range: give seconds above zero")
    return seconds


def _status(arguments: argparse.Namespace) -> int:
    """Show the state once, or again and again with --watch and --wait; return the exit status."""
    until = time.monotonic() + (arguments.wait or 0.0)
    while True:
        found = {source: _health_of(source, arguments.max_age) for source in arguments.source}
        worst = max(_EXIT[health["status"]] for health in found.values())
        if arguments.watch is None and (worst < 2 or time.monotonic() >= until):
            break
        if arguments.watch is not None:
            _print(found, arguments.all, clear=True)
        time.sleep(arguments.watch or min(0.2, max(0.0, until - time.monotonic())))
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found, arguments.all)
    return worst


def _health_of(source: str, max_age: float | None) -> dict[str, Any]:
    """Return the health of a process; "fail", with the reason as "output", where it cannot be read."""
    from http.client import HTTPException

    try:
        found = json.loads(_answer(source) if source.startswith(("http://", "https://")) else _content(source))
        if not _is_health(found):
            raise ValueError("it is no health+json")
    except (OSError, ValueError, HTTPException, RecursionError) as error:
        return {"status": "fail", "output": f"{type(error).__name__}: {error}", "checks": {}}
    health: dict[str, Any] = found
    age = time.time() - health["time"] if isinstance(health.get("time"), int | float) else None
    if max_age is not None and (age is None or not age <= max_age):
        why = "it does not say when it was written" if age is None else f"it was written {age:.0f} s ago"
        return {**health, "status": "fail", "output": why}
    return health


def _is_health(found: Any) -> bool:
    """Return whether it has the form of health+json, as far as it is shown; other programs write that, too."""
    checks = found.get("checks", {}) if isinstance(found, dict) else None
    if not isinstance(checks, dict) or found.get("status") not in list(_EXIT):
        return False
    return all(
        isinstance(listed, list)
        and all(isinstance(one, dict) and isinstance(one.get("answeredByFallback", {}), dict) for one in listed)
        for listed in checks.values()
    )


def _answer(url: str) -> str:
    from urllib.error import HTTPError
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    if urlsplit(url).path in ("", "/"):
        url = f"{url.rstrip('/')}/healthz"
    try:
        answer = urlopen(url, timeout=_ANSWER)
    except HTTPError as refused:
        answer = refused  # 503 has the checks as well
    with answer:
        body: bytes = answer.read()
    return body.decode()


def _content(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _rows_of(found: dict[str, dict[str, Any]], everything: bool) -> list[tuple[str, ...]]:
    """Return a row for each process, and below it one for each check that is not well, or for all."""
    rows: list[tuple[object, ...]] = []
    for source, health in found.items():
        rows.append((source, "", health["status"], "", health.get("output") or "", ""))
        for name, listed in health.get("checks", {}).items():
            for check in listed:
                if everything or check.get("status", "pass") != "pass":
                    answered = sum(check.get("answeredByFallback", {}).values())
                    state = f"{check.get('observedValue', '')} {check.get('observedUnit', '')}".strip()
                    why = check.get("output") or ""
                    rows.append(("", name, state, check.get("time", ""), why, answered or ""))
    return [tuple(map(_printable, row)) for row in rows]


def _printable(value: object) -> str:
    """Return a value as one line that a terminal shows, without what would move its cursor."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(value))


def _print(found: dict[str, dict[str, Any]], everything: bool, *, clear: bool = False) -> None:
    rows = _rows_of(found, everything)
    if clear and sys.stdout.isatty():
        print("\x1b[2J\x1b[H", end="")
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()
