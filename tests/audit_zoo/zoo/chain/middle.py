"""Imports the end, in a function."""


def load():
    import zoo.chain.end

    return zoo.chain.end


load()
