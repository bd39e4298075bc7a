"""Starts a program that holds stdout open and stays."""

import subprocess

subprocess.Popen(["sleep", "3600"])
