"""Django's SimpleLazyObject is lazyguard.lazy; and what runs Django's tests without its runner."""

import django
import pytest
import standing
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "utils_tests"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()
from django.utils import functional  # noqa: E402


class LazyObject(functional.LazyObject):
    """Made by `_setup`, in a subclass, which puts the object into `_wrapped`."""

    def __new__(cls):
        """Return a lazy object for what `_setup` makes."""

        def factory():
            plain = type("Plain", (), dict(cls.__dict__))()
            plain._setup()
            return plain._wrapped

        return standing.lazy(factory)


functional.LazyObject, functional.SimpleLazyObject = LazyObject, standing.OfFactory


@pytest.fixture(scope="session", autouse=True)
def tables():
    """Make the tables of the applications."""
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
