"""Imports what imports it, before its own name is bound: the one that comes first decides whether it passes."""

from zoo import fails_circle_second

VALUE = fails_circle_second.OTHER
