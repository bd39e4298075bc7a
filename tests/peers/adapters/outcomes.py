"""A plugin of pytest: writes what became of each test, as JSON, to the file that the environment names."""

import json
import os

_outcomes = {}


def pytest_runtest_logreport(report):
    """Keep the worst of what a test's phases came to."""
    name = report.nodeid.rpartition("/")[2]
    if report.failed:
        text = str(getattr(report.longrepr, "reprcrash", report.longrepr) or "")
        _outcomes[name] = "failed", text
    elif name not in _outcomes or report.skipped:
        _outcomes.setdefault(name, ("skipped" if report.skipped else "passed", ""))


def pytest_collectreport(report):
    """A file that cannot be imported is a failure, too."""
    if report.failed:
        _outcomes[report.nodeid.rpartition("/")[2]] = "failed", str(report.longrepr)[-500:]


def pytest_sessionfinish():
    """Write all."""
    with open(os.environ["LAZYGUARD_OUTCOMES"], "w") as file:
        json.dump(_outcomes, file)
