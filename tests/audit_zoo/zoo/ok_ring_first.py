"""Imports what imports it, before its own name is bound: whoever comes first passes or fails."""

from zoo import fails_ring_second

VALUE = fails_ring_second.OTHER
