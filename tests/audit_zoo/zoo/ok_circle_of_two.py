"""Imports what imports it; nothing is taken of it before it is done."""

import zoo.ok_circle_other

VALUE = 1
