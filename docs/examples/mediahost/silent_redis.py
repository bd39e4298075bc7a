"""A Redis that accepts connections and never answers.

A server in trouble looks like this from outside: the kernel completes the handshake, so that connecting works, and
then nothing comes. A client without a time-out waits for ever. It listens on loopback, on a free port, and leaves
neither a process nor a file behind.

    with silent_redis() as url:
        ...                                  # redis://127.0.0.1:PORT/0

As a program it prints the address and stays until it is interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def silent_redis(backlog: int = 512) -> Iterator[str]:
    """The address of a Redis that never answers, as long as the block lasts.

    Nobody accepts: the kernel holds up to `backlog` connections open by itself, so that no thread is needed. When the
    block ends they are reset.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def main() -> int:
    with silent_redis() as url, contextlib.suppress(KeyboardInterrupt):
        print(url, flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
