"""Takes a name of a module that is not done."""

import zoo.ok_ring_taken

VALUE = 1
