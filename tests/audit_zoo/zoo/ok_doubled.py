"""Executes a file under two names."""

import os
import sys

import zoo.plain

sys.path.append(os.path.dirname(__file__))
import plain
