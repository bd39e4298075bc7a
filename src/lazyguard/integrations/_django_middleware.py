"""A Django middleware, sync and async: health checks, the request's deadline, and the status of what is not there.

Invariants: it asks for no session and no database. An answer has no text of an exception.
"""

from __future__ import annotations

import sys
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.http import HttpResponse
from django.template import loader
from django.utils.log import log_response

from lazyguard._base.places import shown
from lazyguard._core import deadlines
from lazyguard._policies.failures import is_timeout, matches
from lazyguard.errors import CircuitOpen, ConfigurationError, DeadlineExceeded, ResolutionTimeout, ServiceUnavailable
from lazyguard.integrations._requests import DEFAULTS, Answer, Requests
from lazyguard.integrations.wsgi import _Body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

SETTING = "LAZYGUARD"
# Where a request keeps what a middleware below has raised.
_RAISED = "_lazyguard_raised"


def requests_of_settings() -> Requests:
    """Return the answers and deadlines by the setting LAZYGUARD."""
    given: Any = getattr(settings, SETTING, {})
    if not isinstance(given, dict) or given.keys() - DEFAULTS.keys():
        raise ConfigurationError(
            f"the setting {SETTING}={shown(given)} is invalid: give a dict with some of {', '.join(DEFAULTS)}."
        )
    return Requests(**{**DEFAULTS, **given})


class Middleware:
    """Django middleware that answers health checks, gives requests deadlines, and tells 503 and 504 from 500.

    Name it first in `MIDDLEWARE`: a health check then needs no session, no host name and no redirection. Its options
    are in the setting `LAZYGUARD`, a dict with those of `lazyguard.integrations.wsgi.Middleware`; no header is asked
    for a timeout unless `timeout_header` names one.

    What a view, a template or another middleware raises is answered

    - with 503 and `Retry-After`, if it is `ServiceUnavailable`, `CircuitOpen` or `ResolutionTimeout`;
    - with 504, if it is `DeadlineExceeded`, also in a database of `lazyguard.integrations.django_postgresql`, or a
      time-out of a client's own (`redis.TimeoutError`) when the time of the request was up.

    An exception group counts as what is in it. The templates `503.html` and `504.html` are rendered, where there are
    any. Both are logged to `django.request` as warnings, with the type of the error. It is for WSGI and ASGI; an async
    request is never moved to a thread by it.

    Raises:
        ConfigurationError: The setting is invalid.

    Example:
        >>> MIDDLEWARE = ["lazyguard.integrations.django.Middleware", "django.middleware.common.CommonMiddleware"]
        >>> LAZYGUARD = {"prefix": "/health", "timeout": 10.0}
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._requests = requests_of_settings()
        self._key = "HTTP_" + (self._requests.header or "").upper().replace("-", "_")
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._async:
            return self._acall(request)
        answer = self._requests.answer(request.method or "", request.path_info)
        if answer is not None:
            return _response(answer)
        reach = self._requests.reach(request.META.get(self._key))
        if reach is None:
            return _judged(request, self._get_response(request))
        with reach:
            response = self._get_response(request)
        if response.streaming and not response.is_async:
            response.streaming_content = _Body(response.streaming_content, reach)
        else:
            reach.end()
        return _judged(request, response)

    async def _acall(self, request: HttpRequest) -> Any:
        answer = self._requests.answer(request.method or "", request.path_info)
        if answer is not None:
            return _response(answer)
        reach = self._requests.reach(request.META.get(self._key))
        if reach is None:
            return _judged(request, await self._get_response(request))
        with reach:
            response = await self._get_response(request)
        reach.end()
        return _judged(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """Answer in the place of a view that has raised; None leaves it to Django."""
        return _refused(request, _late(exception))


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name] = value
    return response


def _note(sender: object, request: Any = None, **_: object) -> None:
    """Keep what Django is about to answer with 500."""
    if request is not None:
        setattr(request, _RAISED, _late(sys.exc_info()[1]))


got_request_exception.connect(_note, dispatch_uid="lazyguard")


def _judged(request: HttpRequest, response: Any) -> Any:
    """Return a response, or another one in the place of the 500 that a middleware's error has become."""
    raised = vars(request).pop(_RAISED, None)
    if response.status_code != 500 or raised is None:
        return response
    return _refused(request, raised) or response


def _late(error: Any) -> Any:
    """Return what the request's deadline raises, where that is over and a client told of a time-out in its words."""
    try:
        deadlines.remaining()
    except DeadlineExceeded as over:
        return over if is_timeout(error) else error
    return error


def _refused(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    late = isinstance(error, DatabaseError) and isinstance(
        getattr(error.__cause__, "__cause__", None), DeadlineExceeded
    )
    if late or matches(error, (DeadlineExceeded,)):
        status, phrase = 504, "Gateway Timeout"
    elif matches(error, (DeadlineExceeded, ServiceUnavailable, CircuitOpen, ResolutionTimeout)):
        status, phrase = 503, "Service Unavailable"
    else:
        return None
    try:
        response = HttpResponse(loader.get_template(f"{status}.html").render({}, request), status=status)
    except Exception:  # there is none, or it needs what is not there
        response = HttpResponse(phrase.encode(), status=status, content_type="text/plain")
    seconds = getattr(error, "retry_after", 0.0)
    if status == 503:
        response["Retry-After"] = str(max(1, int(seconds + 1)))
    log_response(
        f"{phrase}: %s (%s)", request.path, type(error).__name__, response=response, request=request, level="warning"
    )
    return response
