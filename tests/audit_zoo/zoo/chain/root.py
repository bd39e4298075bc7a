"""Imports the middle."""

from zoo.chain import middle

__all__ = ["middle"]
