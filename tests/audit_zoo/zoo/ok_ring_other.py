"""Takes the other one as a whole."""

from zoo import ok_ring_of_two


def value():
    return ok_ring_of_two.VALUE
