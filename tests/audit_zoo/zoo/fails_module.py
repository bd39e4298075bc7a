"""Imports a module that the package does not have."""

import zoo.plane
