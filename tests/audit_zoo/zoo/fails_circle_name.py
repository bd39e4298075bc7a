"""Takes a name of a module that is not done."""

import zoo.ok_circle_taken

VALUE = 1
