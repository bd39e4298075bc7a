"""Which files are first-party."""

from __future__ import annotations

import pytest

from lazyguard.audit.target.recorder import is_first_party


@pytest.mark.parametrize(
    ("file", "owned"),
    [
        ("/app/core/tasks.py", True),
        ("/app/core/.venv/lib/python3.11/site-packages/redis/client.py", False),
        ("/app/corex/tasks.py", False),
        ("/app/single.py", True),
        ("/app/single.py.bak", False),
        ("<string>", False),
    ],
)
def test_first_party_is_what_lies_below_a_root(file: str, owned: bool) -> None:
    """Files of the audited packages are first-party; what is installed below them is not."""
    assert is_first_party(file, ("/app/core/", "/app/single.py")) is owned


def test_a_root_in_site_packages_is_first_party() -> None:
    """An installed package can be the target itself."""
    assert is_first_party("/v/site-packages/celery/app.py", ("/v/site-packages/celery/",))
