"""A supplier's API in a process of its own, `supplier.py PORT`: whatever it is asked, the price is 3."""

from __future__ import annotations

import http.server
import sys


class Supplier(http.server.BaseHTTPRequestHandler):
    """Answers with the price."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"3")

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Supplier) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # its clients have gone
        server.serve_forever()
