"""Imported first, it passes itself on half done."""

import zoo.fails_circle_name
from zoo.fails_circle_name import (
    VALUE,
)
