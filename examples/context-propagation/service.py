"""One of three services, front → middle → back: each asks the next, and answers who has answered.

What is about the request as a whole goes on with it: the headers in FORWARDED. The rest ends here.

    NAME=middle NEXT=http://back PORT=8080 python service.py
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

NAME = os.environ.get("NAME", "service")
#: Whom to ask in turn; nobody if empty.
NEXT = os.environ.get("NEXT", "")
PORT = int(os.environ.get("PORT", "8080"))

#: W3C baggage and trace context (https://www.w3.org/TR/baggage/), and what `tow mesh` looks for.
FORWARDED = ("baggage", "traceparent", "tracestate", "x-tow")


class Handler(BaseHTTPRequestHandler):
    """Answers any GET with the list of services that it has passed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        passed = [f"{NAME} on {socket.gethostname()}"]
        if NEXT:
            passed += self._ask_next()
        body = json.dumps(passed).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ask_next(self) -> list[str]:
        headers = {name: self.headers[name] for name in FORWARDED if name in self.headers}
        with urlopen(Request(NEXT + self.path, headers=headers), timeout=10) as answer:
            return json.load(answer)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        ThreadingHTTPServer(("", PORT), Handler).serve_forever()
