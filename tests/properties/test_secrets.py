"""Law 10: our texts carry types and places, never what an exception says; law 4: the cause keeps what it says."""

from __future__ import annotations

import functools
import io
import logging
import traceback

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lazyguard import errors, events
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.threads import resolved

SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=16, max_size=24).map(lambda text: f"s3cr3t{text}")
KINDS = st.sampled_from([ConnectionError, ValueError, ImportError, SystemExit, TimeoutError, KeyError])


class Resource:
    """A target whose repr tells all."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __repr__(self) -> str:
        return f"<Resource {self.url}>"


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("timeout", [None, 30.0])
@settings(max_examples=settings.default.max_examples // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(secret=SECRETS, kind=KINDS, where=st.sampled_from(["factory", "probe", "close", "fallback", "listener"]))
def test_no_text_of_ours_carries_a_secret(timeout, secret, kind, where):
    """A secret in an exception, in arguments or in a target is in no message, event, repr or log line of ours."""
    url = f"redis://user:{secret}@host"
    seen: list[str] = []
    said: list[str] = []
    raised: list[BaseException] = []
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("lazyguard")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)

    def fail(at: str, *_arguments: object) -> None:
        if at == where or (at == "factory" and where == "fallback"):
            raised.append(kind(url))
            raise raised[-1]

    def factory():
        fail("factory")
        return Resource(url)

    def listen(_url: str, event: events.Event) -> None:
        seen.extend([repr(event), *(str(getattr(event, name)) for name in vars(event))])
        fail("listener")

    undo = events.subscribe(functools.partial(listen, url))
    plan = Plan(timeout=timeout, probe=functools.partial(fail, "probe"), close=functools.partial(fail, "close"))
    cell = Cell(factory, name="mod:thing", place="mod.py:7", plan=plan)
    if where == "fallback":
        cell.fallbacks = (Cell(functools.partial(fail, "fallback"), name="mod:fallback", place="mod.py:9"),)
    try:
        for _ in range(2):
            try:
                seen.append(type(resolved(cell)).__name__)
            except errors.LazyguardError as error:
                told: BaseException | None = error
                while isinstance(told, errors.LazyguardError):
                    seen += [str(told), repr(told), repr(told.args)]
                    told = told.__cause__
                assert any(told is one for one in raised)
                said.append("".join(traceback.format_exception(error)))
            except SystemExit:
                assert where in ("listener", "fallback") or timeout is None  # the program's own exit passes
            seen += [repr(cell), repr(cell.now), repr(cell.now.running)]
            try:
                cell.reset()
            except SystemExit:
                assert where in ("listener", "close")
    finally:
        undo()
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert all(error.args == (url,) for error in raised)
    assert all(url in text for text in said), "the cause says what it said"
    texts = [*seen, log.getvalue()]
    assert not [text for text in texts if secret in text]
    assert raised
    assert "mod:thing" in log.getvalue()
