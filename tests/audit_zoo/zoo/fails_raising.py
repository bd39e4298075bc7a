"""Raises, two calls down, with a cause."""


def parse(text):
    return int(text)


def configure():
    try:
        parse("forty")
    except ValueError as error:
        raise RuntimeError("the port is no number") from error


configure()
