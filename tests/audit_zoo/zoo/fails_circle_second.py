"""Imported first, it fails: the name that the other module takes is not yet bound."""

import zoo.ok_circle_third

OTHER = 1
