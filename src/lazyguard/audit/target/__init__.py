"""What runs in the audited interpreter, which need not have lazyguard.

Invariants: nothing in here imports lazyguard outside this package, and everything works on Python 3.10 to 3.15. A file
that is started by its path is a constant here, so that the audit names it in one place.
"""

import os

_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
# Imports one module, or becomes one of its `PROGRAMS`.
CHILD = os.path.join(_DIRECTORY, "child.py")
# The program of `survey.py`, for -c: the packages above it are empty modules there.
SURVEY = """
import sys
sys.path[:] = filter(None, sys.path)
name = ""
for part in ("lazyguard", "audit", "target"):
    name = f"{name}.{part}" if name else part
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [sys.argv[1]] if part == "target" else []
from lazyguard.audit.target.survey import main
main(sys.argv[2:])
"""
# The interpreter's arguments that start it; what it is asked comes next.
SURVEYING = ("-c", SURVEY, _DIRECTORY)
