"""Distributions: the pip command that installs a missing module, and the check of a requirement.

Invariants: metadata is read only while an error is being built, or for a requirement at its module's first use. A
command is a fact, never a guess from the name of a module: anybody may register that.
"""

from __future__ import annotations

from lazyguard import errors

KNOWN = """
    aiohttp asyncpg attr=attrs boto3 bs4=beautifulsoup4 celery Crypto=pycryptodome cv2=opencv-python django
    dns=dnspython dateutil=python-dateutil docx=python-docx dotenv=python-dotenv fastapi fitz=PyMuPDF flask
    flask_socketio=Flask-SocketIO gi=PyGObject git=GitPython github=PyGithub google.cloud.storage=google-cloud-storage
    google.protobuf=protobuf grpc=grpcio gunicorn httpx jinja2 jose=python-jose jwt=PyJWT ldap=python-ldap lxml
    magic=python-magic markdown_it=markdown-it-py matplotlib MySQLdb=mysqlclient nacl=PyNaCl numpy OpenSSL=pyOpenSSL
    pandas PIL=Pillow pkg_resources=setuptools psycopg psycopg2 pydantic redis requests
    rest_framework=djangorestframework rich ruamel.yaml scipy serial=pyserial skimage=scikit-image
    sklearn=scikit-learn skopt=scikit-optimize slugify=python-slugify sqlalchemy umap=umap-learn usb=pyusb uvicorn
    win32api=pywin32 win32com=pywin32 wx=wxPython Xlib=python-xlib yaml=PyYAML zmq=pyzmq zope.testing
"""
"""Distributions that are known to hold modules; without `=` the names are the same."""


def remedy(module: str, *, extra: str | None = None, package: str | None = None, host: str = "") -> str:
    """Return what to do about a missing module, for the end of a sentence; see `command`."""
    known = command(module, extra=extra, package=package, host=host)
    return f"to install it: {known}" if known else "which distribution has it is not known here"


def command(module: str, *, extra: str | None = None, package: str | None = None, host: str = "") -> str | None:
    """Return the command that installs `module`; None where no distribution is known to hold it.

    Args:
        module: The missing module, dotted or not.
        extra: The extra of the host's distribution that installs it.
        package: The distribution that installs it, where its name differs from the module's.
        host: The name of the requiring module; its top-level package belongs to the host's distribution.

    The command has the extra only if the host's distribution is installed and declares it. Else it has the distribution
    that is given, that the host requires by this name, or that is well known.

    >>> command("redis.asyncio")
    'pip install redis'
    >>> command("yaml", package="PyYAML")
    'pip install PyYAML'
    """
    distribution = _with_extra(host.partition(".")[0], extra) if extra else None
    if distribution is not None:
        return f"pip install '{distribution}[{extra}]'"
    wanted = package or distribution_of(module)
    if wanted is None:
        return None
    return f"pip install '{wanted}'" if set(wanted) & set("<>=!~ [;") else f"pip install {wanted}"


def distribution_of(module: str) -> str | None:
    """Return the well-known distribution that holds a module."""
    table = {name: other or name for name, _, other in (pair.partition("=") for pair in KNOWN.split())}
    parts = module.split(".")
    above = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((table[name] for name in above if name in table), None)


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
        if normal(extra) in map(normal, extras):
            return name
    return None


def normal(name: str) -> str:
    """Return the name of a distribution as it is compared (PEP 503)."""
    return name.lower().replace("_", "-").replace(".", "-")
