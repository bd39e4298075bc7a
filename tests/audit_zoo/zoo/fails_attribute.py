"""Uses a name that a module does not have."""

import zoo.plain

zoo.plain.nothing()
