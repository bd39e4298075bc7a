"""Imported first, it passes itself on half done."""

import zoo.fails_ring_name
from zoo.fails_ring_name import (
    VALUE,
)
