"""Imports what others use."""

import xml.sax.handler
