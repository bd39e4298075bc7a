"""Takes a name that a module does not have."""

from zoo.ok_lending import xmll
