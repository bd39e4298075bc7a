"""Writes the headline table into README.md: verdicts and seconds of the example, as `make demo` measured them.

Reads build/demo/before.json and after.json, and replaces what stands between the two `headline` comments. Nothing but
the measured figures is in it: run `make demo` first, then `python docs/headline.py`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = re.compile(r"(?<=<!-- headline -->\n).*?(?=<!-- /headline -->)", re.DOTALL)


def table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the table, and below it where and how it was measured."""
    rows = ["| module | before | after |", "|---|---|---|"]
    new = {module["module"]: module for module in after["modules"]}
    for module in before["modules"]:
        name = module["module"]
        rows.append(f"| `{name}` | {said(module, before['timeout'])} | {said(new.get(name), after['timeout'])} |")
    note = (
        f"Seconds above the interpreter's own start, on Python {after['python']}; on the right the fastest of "
        f"{after['repeats']}."
    )
    alone = new.get("sqlalchemy.orm")
    if alone is not None:
        note += f" `core.models` needs SQLAlchemy, whose own import takes {alone['seconds']:.3f} s."
    alone = new.get("dataclasses")
    if alone is not None:
        note += (
            f" `core.config` is a frozen dataclass; the import of `dataclasses` alone takes {alone['seconds']:.3f} s."
        )
    return "\n".join(rows) + f"\n\n{note}\n"


def said(module: dict[str, Any] | None, limit: float) -> str:
    """Return a cell: the seconds, the verdict where it is not ok, and the line that is to blame."""
    if module is None:
        return "not measured"
    if module["verdict"] == "ok":
        return f"{module['seconds']:.3f} s"
    blame = module["blame"]
    where = f", `{blame['file']}:{blame['line']}`" if blame else ""
    how_long = f"for {limit:g} s" if module["verdict"] == "hangs" else f"{module['seconds']:.3f} s"
    return f"{module['verdict']} {how_long}{where}"


def main() -> int:
    """Fill the README; return the exit status."""
    try:
        before, after = (
            json.loads((ROOT / "build" / "demo" / f"{side}.json").read_text(encoding="utf-8"))
            for side in ("before", "after")
        )
    except FileNotFoundError as error:
        print(f"there is no {error.filename}: run `make demo` first", file=sys.stderr)
        return 1
    readme = ROOT / "README.md"
    text, found = PLACE.subn(lambda _: table(before, after), readme.read_text(encoding="utf-8"))
    if found != 1:
        print("README.md has no place for the table: <!-- headline --> and <!-- /headline -->", file=sys.stderr)
        return 1
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
