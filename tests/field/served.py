"""Run below a program's interpreter: its start-up, then a few requests in one process, each timed, as a line of JSON.

    served.py PATH [FORM-PATH FORM]

The form is posted to its path twice, after the page was asked for five times.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import parse_qsl


def timed(name: str, function: Any, *args: Any) -> None:
    began = time.perf_counter()
    try:
        answer = function(*args)
        status = getattr(answer, "status_code", "")
    except Exception as error:
        status = type(error).__name__
    print(json.dumps([name, round(time.perf_counter() - began, 3), status]), flush=True)


def start() -> None:
    from django.core.wsgi import get_wsgi_application

    get_wsgi_application()


def main(path: str, action: str = "", form: str = "") -> None:
    timed("start", start)
    from django.test import Client

    client = Client(raise_request_exception=False, HTTP_USER_AGENT="field")
    for count in (1, 2, 3, 4, 5):
        timed(f"request {count}", client.get, path)
    for count in (1, 2) if form else ():
        timed(f"form {count}", client.post, action, dict(parse_qsl(form)))


if __name__ == "__main__":
    main(*sys.argv[1:])
