"""Calls itself until there is no more room."""


def deeper():
    return deeper() + 1


deeper()
