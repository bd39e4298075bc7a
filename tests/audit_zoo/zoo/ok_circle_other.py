"""Takes the other one as a whole."""

from zoo import ok_circle_of_two


def value():
    return ok_circle_of_two.VALUE
