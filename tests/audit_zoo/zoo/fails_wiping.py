"""Empties the table of modules, itself among them."""

import sys

sys.modules.clear()
