"""The sample services: each hands on what is about the request as a whole."""

import importlib.util
import json
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

SOURCE = Path(__file__).parents[3] / "examples" / "context-propagation" / "service.py"
SENT = {
    "baggage": "tow=ada",
    "traceparent": "00-80e1afed08e019fc1110464cfa66635c-7a085853722dc6d2-01",
    "x-tow": "ada",
    "Authorization": "nobody else's business",
}


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]):
    """A server on the loopback meanwhile; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def service(name: str, following: str) -> type[BaseHTTPRequestHandler]:
    """One of the services, as its environment makes it."""
    spec = importlib.util.spec_from_file_location(name, SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.NAME, module.NEXT = name, following

    class Silent(module.Handler):
        def log_message(self, *_: object) -> None:
            pass

    return Silent


@pytest.fixture
def asked() -> list[dict[str, str]]:
    """The headers that the last service was sent, in lower case."""
    return []


@pytest.fixture
def front(asked):
    """The first service's address."""

    def noting(handler: type[BaseHTTPRequestHandler]) -> type[BaseHTTPRequestHandler]:
        class Noting(handler):
            def do_GET(self) -> None:  # noqa: N802
                asked.append({name.lower(): value for name, value in self.headers.items()})
                super().do_GET()

        return Noting

    with ExitStack() as stack:
        back = stack.enter_context(served(noting(service("back", ""))))
        middle = stack.enter_context(served(service("middle", back)))
        yield stack.enter_context(served(service("front", middle)))


def get(address: str, headers: dict[str, str]) -> list[str]:
    with urlopen(Request(address, headers=headers)) as answer:
        return [each.partition(" ")[0] for each in json.load(answer)]


def test_headers_of_the_request_as_a_whole_reach_the_last_service_and_no_others(front, asked):
    assert get(f"{front}/a?b", SENT) == ["front", "middle", "back"]
    (headers,) = asked
    assert headers["baggage"] == SENT["baggage"]
    assert headers["traceparent"] == SENT["traceparent"]
    assert headers["x-tow"] == SENT["x-tow"]
    assert "authorization" not in headers


def test_nothing_is_made_up(front, asked):
    get(front, {})
    assert not {"baggage", "traceparent", "tracestate", "x-tow"} & set(asked[0])
