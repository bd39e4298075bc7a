"""`python -m tests.mutants.rules`: take out the rules of the policies, one at a time; some test has to fail each time.

Each is one replacement in a copy of the source, against the tests that hold the rule. docs/explanation/mutants.md has
the list, and what was seen.
"""

# ruff: noqa: E501  (a rule a line)

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import Phase, settings

ROOT = Path(__file__).parents[2]
MACHINE = "tests/properties/test_circuit_machine.py"
FALLBACKS = "tests/unit/services/test_guarded_fallbacks.py"


class Rule(NamedTuple):
    """A rule, the text that keeps it, what takes it out, and the tests that are to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str = MACHINE


CIRCUIT, FAILURES, ANSWERS = "_policies/circuit.py", "_policies/failures.py", "_services/guarded_fallback.py"
RULES = (
    Rule("predicates tell 503 from 404", FAILURES, "if kind(error):", "if True:"),
    Rule("a predicate that raises means nothing", FAILURES, "except Exception as raised:", "except KeyError as raised:"),
    Rule("slow calls count", CIRCUIT, "failed, error = True, slow", "pass"),
    Rule("a caller's haste does not count", CIRCUIT, "if hasty is not None:", "if False:"),
    Rule("a hasty probe is open for the same time again", CIRCUIT, "rounds=self.rounds - 1)", "rounds=None)"),
    Rule("what an inner service raises counts", CIRCUIT, "self.breaker.on, inner=True)", "self.breaker.on)"),
    Rule("what is ignored counts for nothing", CIRCUIT, "failures.matches(error, self.breaker.ignore)", "False"),
    Rule("what is no Exception counts for nothing", CIRCUIT, "            return None\n        meant", "            return False\n        meant"),
    Rule("a probe's success counts in its round", CIRCUIT, '(self.since, self.probed) if same', '(self.since, []) if same'),
    Rule("a probe may outlast half_open_timeout", CIRCUIT, "while (now := circuit.now).probed is self.probed:", "if (now := circuit.now) is self:"),
    Rule("success_threshold probes close it", CIRCUIT, "< circuit.breaker.success_threshold", "< 1"),
    Rule("one probe at a time", CIRCUIT, "phase.probing(moment + self.breaker.half_open_timeout)", "phase.probing(moment)"),
    Rule("a failed probe opens it for longer", CIRCUIT, "rounds=rounds + 1", "rounds=1"),
    Rule("a cancelled probe gives its place back", CIRCUIT, "self._circuit.follow(self, self.probing(clock.now()))", "pass"),
    Rule("a group counts as its leaves do", FAILURES, "    if kind is None or not isinstance(error, kind):", "    if True:"),
    Rule("a group that is mixed counts for nothing", CIRCUIT, "meant.pop() if len(meant) == 1 else None", "all(meant)"),
    Rule("isolated until the reset", CIRCUIT, 'clock.now(), until=ISOLATED', 'clock.now(), until=clock.now()'),
    Rule("an outcome counts in its own phase alone", CIRCUIT, "        if self.now is old:", "        if True:"),
    Rule("a programmer's error is answered by name alone", ANSWERS, "_MISTAKES = (AttributeError, TypeError, NameError)", "_MISTAKES = ()", FALLBACKS),
    Rule("an answer is told", ANSWERS, 'events.tell(guard, "degraded"', 'str((guard, "degraded"', FALLBACKS),
    Rule("an answer is counted", ANSWERS, "self.times += 1", "pass", FALLBACKS),
    Rule("the retry ends at an open breaker", "_policies/retries.py", "isinstance(leaf, CircuitOpen)", "False", "tests/unit/services/test_guarded.py tests/unit/policies/test_retry.py"),
    Rule("a silent server is found out", FAILURES, "        self._since, self._waited = moment, 0.0\n        return True", "        return False", "tests/unit/policies/test_haste.py"),
)  # fmt: skip


def pytest_collection() -> None:
    """Let hypothesis stop at the first example that fails: nobody reads it."""
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("unshrunk", parent=settings.default, phases=phases)
    settings.load_profile("unshrunk")


def survives(rule: Rule) -> bool:
    """Return whether the tests pass without the rule."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "lazyguard")
        shutil.copytree(ROOT / "src" / "lazyguard", copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / rule.file
        text = file.read_text()
        assert text.count(rule.old) == 1, f"{rule.name}: {text.count(rule.old)} places in {rule.file}"
        file.write_text(text.replace(rule.old, rule.new))
        plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.mutants.rules"]
        command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, *rule.tests.split()]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(ROOT)])}
        try:
            ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=300, check=False)
        except subprocess.TimeoutExpired:
            return False
        return ran.returncode == 0


if __name__ == "__main__":
    left = []
    for rule in RULES:
        left += [rule.name] if survives(rule) else []
        print("SURVIVED" if rule.name in left else "killed", rule.name, sep="  ", flush=True)
    sys.exit(bool(left))
