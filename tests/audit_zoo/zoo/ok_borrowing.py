"""Uses a submodule that only another module imports."""

import xml

import zoo.ok_lending

Element = xml.sax.handler.ContentHandler
path = xml.__name__
