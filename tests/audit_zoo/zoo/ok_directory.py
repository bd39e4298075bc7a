"""Changes the directory and the path."""

import os
import sys

os.chdir("/")
sys.path.clear()
