"""Distributions: the pip command that installs a missing module, and the check of a requirement.

Invariant: metadata is read only while an error is being built, or for a requirement at its module's first use.
"""

from __future__ import annotations

from lazyguard import errors


def command(module: str, *, extra: str | None = None, package: str | None = None, host: str = "") -> str:
    """Return the command that installs `module`.

    Args:
        module: The missing module, dotted or not.
        extra: The extra of the host's distribution that installs it.
        package: The distribution that installs it, where its name differs from the module's.
        host: The name of the requiring module; its top-level package belongs to the host's distribution.

    The command has the extra only if the host's distribution is installed and declares it. Else it has the distribution
    of the module itself.

    >>> command("redis.asyncio")
    'pip install redis'
    >>> command("yaml", package="PyYAML")
    'pip install PyYAML'
    """
    distribution = _with_extra(host.partition(".")[0], extra) if extra else None
    if distribution is not None:
        return f"pip install '{distribution}[{extra}]'"
    wanted = package or module.partition(".")[0]
    return f"pip install '{wanted}'" if set(wanted) & set("<>=!~ [;") else f"pip install {wanted}"


def unsatisfied(requirement: str, what: str) -> str:
    """Return why the installed distribution does not satisfy `requirement` (PEP 508), and the remedy; "" if it does.

    Args:
        requirement: Such as "numpy>=1.24".
        what: The name and the place of the declaration, for errors.

    Raises:
        ConfigurationError: The requirement is invalid, or names no installed distribution.
        MissingModuleError: The package `packaging`, which reads requirements, is not installed.
    """
    from importlib import metadata

    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ModuleNotFoundError as error:
        text = f"{what}: require= is read with the package packaging, which is not installed: pip install packaging"
        raise errors.MissingModuleError(text, name=error.name) from error
    try:
        wanted = Requirement(requirement)
        version = metadata.version(wanted.name)
    except InvalidRequirement as error:
        raise errors.ConfigurationError(
            f"{what}: require={requirement!r} is not a requirement (PEP 508): write it as 'numpy>=1.24'"
        ) from error
    except metadata.PackageNotFoundError as error:
        raise errors.ConfigurationError(
            f"{what}: require={requirement!r} names no installed distribution, although the module can be found: "
            "write the distribution's name, not the module's"
        ) from error
    if wanted.specifier.contains(version, prereleases=True):
        return ""
    return f"{wanted.name} {version} is installed, and {requirement!r} is required: {command('', package=requirement)}"


def _with_extra(top_level: str, extra: str) -> str | None:
    """Return the distribution that has the package `top_level`, if it declares that extra."""
    from importlib import metadata

    # An editable install does not list the files of its package: try the distribution of the same name.
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
