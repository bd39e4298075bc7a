"""`python -m tests.mutants [--seconds N] [--line N] [MODULE ...]`: run a module's tests on it with one thing changed.

The changes are Cosmic Ray's. Each is tried in a child of one process that has loaded pytest and no lazyguard, and is
compiled from memory, so that no file is touched and none of the start-up is paid twice.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.abc
import importlib.util
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import cosmic_ray.plugins
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

SRC = Path(__file__).parents[2] / "src" / "lazyguard"
CORE, POLICIES = "tests/unit/core/test_", "tests/unit/policies/test_"
# A module -> the tests that are to notice, the quickest first.
TESTS = {
    "_core/state": [f"{CORE}state.py", f"{CORE}cell.py", f"{CORE}hanging.py"],
    "_core/observers": [f"{CORE}observers.py"],
    "_core/deadlines": [f"{CORE}deadlines.py"],
    "_core/resolve": [
        f"{CORE}resolve.py", f"{CORE}deadlines.py", f"{CORE}hanging.py", f"{POLICIES}fallback.py",
        f"{POLICIES}chain.py", f"{CORE}tasks.py", f"{POLICIES}circuit.py",
    ],
    "_core/wait_cycles": [
        f"{CORE}wait_cycles.py", f"{CORE}tasks.py", f"{CORE}hanging.py", "tests/stress/test_wait_cycles.py",
    ],
    "_core/cell": [
        f"{CORE}cell.py", f"{CORE}closing.py", f"{CORE}resolve.py", f"{CORE}hanging.py", f"{POLICIES}recovery.py",
    ],
    "_policies/circuit": [f"{POLICIES}circuit.py", f"{POLICIES}breaker.py"],
    "_policies/recovery": [f"{POLICIES}recovery.py", f"{CORE}hanging.py"],
    "_policies/retry": [f"{POLICIES}retry.py", "tests/unit/base/test_validation.py"],
}  # fmt: skip
# Left out: operators between types in annotations, which nothing runs; swaps for an operator that no reader would
# mistake for the right one (an addition that becomes a shift); decorators such as `final`, which do nothing.
OPERATORS = re.compile(
    "core/(AddNot|NumberReplacer|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    "|ReplaceContinueWithBreak|ReplaceBreakWithContinue|ZeroIterationForLoop|ExceptionReplacer"
    "|ReplaceUnaryOperator_Delete_Not|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul)"
    "|ReplaceComparisonOperator_(IsNot_Is|Is_IsNot|Eq_NotEq|NotEq_Eq|GtE_Gt|GtE_Lt|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt"
    "|Gt_GtE|Gt_LtE))$"
)

# Seconds that each has at the least: the machine may be busy.
LEAST = 30.0
# Lines that only type checkers read, and the star before keyword-only parameters, which is no product.
IDLE = re.compile(r"TYPE_CHECKING|(^|[(\s])\*,")


class Mutant(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a text instead of its file."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self.name, self.path, self.text = name, str(path), text

    def find_spec(self, fullname, path=None, target=None):
        return (
            importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None
        )

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return self.text.encode()


def mutations(source: str):
    """Yield each change as the operator's name, a line of the source, and the changed source."""
    tree, lines = get_ast(source), source.splitlines()
    for name in sorted(filter(OPERATORS.match, cosmic_ray.plugins.operator_names())):
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(places):
            if IDLE.search(lines[start[0] - 1]):
                continue
            yield name.removeprefix("core/"), start[0], mutate_code(source, operator, occurrence)


def attempt(module: str, text: str, limit: float) -> str:
    """Run the tests of a module with that text; return "killed", "survived" or "timeout"."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            name = "lazyguard." + module.replace("/", ".")
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # else pytest itself imports the package, from its files
            sys.meta_path.insert(0, Mutant(name, SRC / f"{module}.py", text))
            status = int(pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *TESTS[module]]))
        finally:
            os._exit(status)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "killed" if status else "survived"
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return " ".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def main() -> None:
    """Print a line for each mutant that survives, and the figures of each module."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    options.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after so many")
    options.add_argument("--line", type=int, action="append", help="change this line alone; may be given again")
    options.add_argument("modules", nargs="*", default=list(TESTS), choices=[*TESTS, list(TESTS)], metavar="MODULE")
    asked = options.parse_args()
    until = time.monotonic() + asked.seconds
    for module in asked.modules:
        source = (SRC / f"{module}.py").read_text()
        began = time.monotonic()
        if attempt(module, source, 300.0) != "survived":
            sys.exit(f"{module}: its tests do not pass as it is")
        limit = max(LEAST, 4 * (time.monotonic() - began))
        counts = {"killed": 0, "survived": 0, "timeout": 0, "not run": 0}
        for operator, line, text in mutations(source):
            if asked.line and line not in asked.line:
                continue
            ended = attempt(module, text, limit) if time.monotonic() < until else "not run"
            counts[ended] += 1
            if ended in ("survived", "timeout"):
                print(f"{module}.py:{line} {operator} {ended}: {difference(source, text)}", flush=True)
        print(json.dumps({"module": module, **counts}), flush=True)


if __name__ == "__main__":
    main()
