"""Imports what is installed under another name; whether it is here makes no difference."""

import sys

sys.path.clear()
sys.path_importer_cache.clear()
sys.modules.pop("yaml", None)
import yaml
