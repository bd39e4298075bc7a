"""Imports what imports it; nothing is taken of it before it is done."""

import zoo.ok_ring_other

VALUE = 1
