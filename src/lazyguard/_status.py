"""`lazyguard status`: how one or many processes are, by their health paths or files.

Invariants: it reads JSON, and imports nothing of the application. What cannot be read, or is too old, is a process that
fails, and the others are shown all the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

EXIT = {"pass": 0, "warn": 1, "fail": 2}
DESCRIPTION = """\
Show how processes are, by the health path of each (http://127.0.0.1:8000/healthz) or by the file that
lazyguard.health_file writes. The exit status is 0 for pass, 1 for warn, 2 for fail. What cannot be read fails."""
EPILOG = "Such as: lazyguard status http://127.0.0.1:8000/healthz /run/shop/worker.json --max-age 30"
# Seconds for one answer.
_ANSWER = 5.0
_COLUMNS = ("process", "name", "state", "since", "why", "by fallbacks")


def declare(parser: argparse.ArgumentParser) -> None:
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


def run(arguments: argparse.Namespace) -> int:
    """Show the state once, or for as long as is asked; return the exit status."""
    until = time.monotonic() + (arguments.wait or 0.0)
    while True:
        found = {source: read(source, arguments.max_age) for source in arguments.source}
        worst = max((str(told["status"]) for told in found.values()), key=lambda status: EXIT.get(status, 2))
        if arguments.watch is None and (EXIT.get(worst, 2) < 2 or time.monotonic() >= until):
            break
        if arguments.watch is not None:
            _print(found, arguments.all, clear=True)
        time.sleep(arguments.watch or min(0.2, max(0.0, until - time.monotonic())))
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found, arguments.all)
    return EXIT.get(worst, 2)


def read(source: str, max_age: float | None) -> dict[str, Any]:
    """Return what a process says of itself; "fail", with the reason as "output", where it does not."""
    try:
        text = _answer(source) if source.startswith(("http://", "https://")) else _content(source)
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("status") not in EXIT:
            raise ValueError("it is no health+json")
    except (OSError, ValueError) as error:
        return {"status": "fail", "output": f"{type(error).__name__}: {error}", "checks": {}}
    age = time.time() - told["time"] if isinstance(told.get("time"), int | float) else None
    if max_age is not None and (age is None or age > max_age):
        why = "it does not say when it was written" if age is None else f"it was written {age:.0f} s ago"
        return {**told, "status": "fail", "output": why}
    return told


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


def rows_of(found: dict[str, dict[str, Any]], everything: bool) -> list[tuple[str, ...]]:
    """Return a row for each process, and below it one for each check that is not well, or for all."""
    rows: list[tuple[str, ...]] = []
    for source, told in found.items():
        rows.append((source, "", str(told["status"]), "", str(told.get("output", "")), ""))
        for name, several in told.get("checks", {}).items():
            for check in several:
                if everything or check["status"] != "pass":
                    answered = sum(check.get("answeredByFallback", {}).values())
                    state = f"{check['observedValue']} {check.get('observedUnit', '')}".strip()
                    why = check.get("output", "")
                    rows.append(("", name, state, check.get("time", ""), why, str(answered or "")))
    return rows


def _print(found: dict[str, dict[str, Any]], everything: bool, *, clear: bool = False) -> None:
    rows = rows_of(found, everything)
    if clear and sys.stdout.isatty():
        print("\x1b[2J\x1b[H", end="")
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
