"""How to get a missing module: the pip command for an error's text.

Invariant: called only while an error is being built, so that metadata is read by those who need it.
"""

from __future__ import annotations


def command(module: str, *, extra: str | None = None, package: str | None = None, host: str = "") -> str:
    """Return the command that installs `module`.

    Args:
        module: The missing module, dotted or not.
        extra: The extra of the host's distribution that brings it.
        package: The distribution that brings it, where its name differs from the module's.
        host: The name of the module that asks; its top-level package leads to the host's distribution.

    The extra is named only where the host's distribution is installed and declares it; without that the
    command names the distribution of the module itself.

    >>> command("redis.asyncio")
    'pip install redis'
    >>> command("yaml", package="PyYAML")
    'pip install PyYAML'
    """
    distribution = _with_extra(host.partition(".")[0], extra) if extra else None
    if distribution is not None:
        return f"pip install '{distribution}[{extra}]'"
    return f"pip install {package or module.partition('.')[0]}"


def _with_extra(top_level: str, extra: str) -> str | None:
    """Return the distribution that `top_level` comes from, if it has that extra."""
    from importlib import metadata

    # An editable install does not list the files of its package: there the distribution of the same name is
    # tried.
    names: list[str] = [*metadata.packages_distributions().get(top_level, ()), top_level]
    for name in names:
        try:
            extras: list[str] = metadata.metadata(name).get_all("Provides-Extra") or []
        except (metadata.PackageNotFoundError, ValueError):
            continue
        if _normal(extra) in map(_normal, extras):
            return name
    return None


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
