"""HTTP as it is spoken to a proxy: tunnels, and requests that are passed on, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.proxy import http
from towline.proxy.http import Exchange
from towline.proxy.request import Malformed
from towline.wire.frames import Reason
from towline.wire.target import Target


def asked(text: str) -> tuple[h11.Connection, h11.Request]:
    here = http.client_connection()
    here.receive_data(text.replace("\n", "\r\n").encode("latin-1"))
    request = http.next_request(here)
    assert isinstance(request, h11.Request)
    return here, request


def exchanged(text: str) -> Exchange:
    return Exchange(*asked(text))


def passed_on(text: str) -> list[str]:
    return exchanged(text).begin.decode().split("\r\n")


def passed_back(request: str, answer: str) -> list[str]:
    exchange = exchanged(request)
    exchange.ask()
    return exchange.answer(answer.replace("\n", "\r\n").encode()).decode().split("\r\n")


GET = "GET http://web/ HTTP/1.1\nHost: web\n\n"


@pytest.mark.parametrize(
    ("authority", "target"),
    [("web:443", Target("web", 443)), ("[fd00::1]:80", Target("fd00::1", 80))],
)
def test_tunnel_leads_to_a_host_and_port(authority: str, target: Target) -> None:
    here, request = asked(f"CONNECT {authority} HTTP/1.1\nHost: {authority}\n\nhello")
    assert http.target_of(request) == target
    assert http.rest(here) == b"hello"


@pytest.mark.parametrize(
    ("url", "target", "path", "host"),
    [
        ("http://web", Target("web", 80), "/", "web"),
        ("http://web:8080/a?b#c", Target("web", 8080), "/a?b", "web:8080"),
        ("HTTP://user:secret@web?b", Target("web", 80), "/?b", "web"),
        ("http://[fd00::1]/", Target("fd00::1", 80), "/", "[fd00::1]"),
        ("http://web/http://x?y/z", Target("web", 80), "/http://x?y/z", "web"),
    ],
)
def test_url_becomes_a_path_and_its_own_host(
    url: str, target: Target, path: str, host: str
) -> None:
    text = f"GET {url} HTTP/1.1\nHost: other\n\n"
    assert http.target_of(asked(text)[1]) == target
    assert passed_on(text)[:2] == [f"GET {path} HTTP/1.1", f"Host: {host}"]


def test_options_without_a_path_ask_about_the_server() -> None:
    assert passed_on("OPTIONS http://web HTTP/1.1\nHost: web\n\n")[0] == "OPTIONS * HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "said", "passed"),
    [("TRACE", 2, 1), ("OPTIONS", "00001", 0), ("OPTIONS", "9" * 5000, 999), ("GET", 0, 0)],
)
def test_request_is_passed_on_as_often_as_it_says(
    method: str, said: int | str, passed: int
) -> None:
    text = f"{method} http://web/ HTTP/1.1\nHost: web\nMax-Forwards: {said}\n\n"
    assert http.own_answer(asked(text)[1]) == b""
    assert f"Max-Forwards: {passed}" in passed_on(text)


def test_trace_that_is_not_to_be_passed_on_is_given_back_without_secrets() -> None:
    text = (
        "TRACE http://web/ HTTP/1.1\nHost: web\nMax-Forwards: 0\n"
        "Cookie: a=b\nProxy-Authorization: Basic eDp5\nX-Mine: \xe9\n\n"
    )
    head, _, body = http.own_answer(asked(text)[1]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n")
    kept = "TRACE http://web/ HTTP/1.1\nHost: web\nMax-Forwards: 0\nX-Mine: \xe9\n\n"
    assert body == kept.replace("\n", "\r\n").encode("latin-1")


def test_fields_for_the_proxy_alone_go_no_further() -> None:
    fields = (
        "Connection: keep-alive, X-Mine, content-length\nX-Mine: 1\nProxy-Connection: keep-alive\n"
        "Proxy-Authorization: Basic eDp5\nTE: trailers\nContent-Length: 0\nX-Kept: a:b\n"
    )
    assert passed_on(f"POST http://web/ HTTP/1.1\nHost: web\n{fields}\n") == [
        "POST / HTTP/1.1",
        "Host: web",
        "Content-Length: 0",
        "X-Kept: a:b",
        "Via: 1.1 tow",
        "Connection: close",
        "",
        "",
    ]


def test_fields_for_one_hop_do_not_come_back() -> None:
    answer = (
        "HTTP/1.1 200 Fine\nConnection: close, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nX-Kept: 2\n"
        "Content-Length: 2\n\nhi"
    )
    back = passed_back(GET, answer)
    assert back[:-1] == ["HTTP/1.1 200 Fine", "X-Kept: 2", "Content-Length: 2", "Via: 1.1 tow", ""]
    assert back[-1] == "hi"


def test_answer_that_ends_with_its_connection_ends_by_itself() -> None:
    exchange = exchanged(GET)
    exchange.ask()
    said = exchange.answer(b"HTTP/1.0 200 OK\r\n\r\nhel") + exchange.answer(b"lo")
    assert not exchange.is_over
    said += exchange.answer(b"")
    assert exchange.is_over
    assert b"Transfer-Encoding: chunked\r\n" in said
    assert said.endswith(b"\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")


def test_old_client_gets_no_chunks_and_nothing_beforehand() -> None:
    back = passed_back(
        "GET http://web/ HTTP/1.0\n\n",
        "HTTP/1.1 103 Early\n\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\nA: b\n\n",
    )
    assert back == ["HTTP/1.1 200 OK", "Via: 1.1 tow", "Connection: close", "", "hi"]


def test_length_beside_chunks_does_not_come_back() -> None:
    answer = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 1\n\n2\nhi\n0\n\n"
    assert not any("Content-Length" in line for line in passed_back(GET, answer))


def test_client_that_waits_for_leave_gets_the_targets() -> None:
    here, request = asked(
        "PUT http://web/ HTTP/1.1\nHost: web\nExpect: 100-continue\nContent-Length: 2\n\n"
    )
    exchange = Exchange(here, request)
    assert b"Expect: 100-continue\r\n" in exchange.begin
    assert exchange.ask() == b""
    assert exchange.answer(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    assert not exchange.is_answered
    here.receive_data(b"hi")
    assert exchange.ask() == b"hi"
    assert exchange.answer(b"HTTP/1.1 204 Done\r\n\r\n").startswith(b"HTTP/1.1 204 Done\r\n")
    assert (exchange.is_said, exchange.is_over) == (True, True)


UPGRADE = "GET http://web/ HTTP/1.1\nHost: web\nConnection: keep-alive, Upgrade\nUpgrade: {}\n\n{}"


def test_upgrade_is_passed_on_and_back_with_all_that_is_said_afterwards() -> None:
    exchange = exchanged(UPGRADE.format("websocket", "frames"))
    assert exchange.begin.endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    exchange.ask()
    answer = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nmore"
    said = exchange.answer(answer)
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in said
    assert exchange.is_switched
    assert exchange.rest() == (b"frames", b"more")


def test_upgrade_that_is_not_taken_is_an_answer_like_any() -> None:
    here, request = asked(UPGRADE.format("websocket", GET))
    exchange = Exchange(here, request)
    exchange.ask()
    exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert exchange.is_over
    here.start_next_cycle()
    assert isinstance(http.next_request(here), h11.Request)


def test_http2_is_not_asked_for() -> None:
    text = (
        "GET http://web/ HTTP/1.1\nHost: web\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n"
        "HTTP2-Settings: AAEAAEAA\n\n"
    )
    assert passed_on(text)[2:] == ["Via: 1.1 tow", "Connection: close", "", ""]


def test_switch_that_nobody_has_asked_for_is_no_answer() -> None:
    exchange = exchanged(GET)
    exchange.ask()
    with pytest.raises(h11.RemoteProtocolError):
        exchange.answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n")


def test_answer_that_is_cut_off_is_none() -> None:
    exchange = exchanged(GET)
    exchange.ask()
    exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    with pytest.raises(h11.RemoteProtocolError):
        exchange.answer(b"")
    assert exchange.is_answered


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\nHost: 127.0.0.1:1080\n\n",
        "GET https://web/ HTTP/1.1\nHost: web\n\n",
        "GET ftp://web/ HTTP/1.1\nHost: web\n\n",
        "GET http:///x HTTP/1.1\nHost: web\n\n",
        "GET http://[web/ HTTP/1.1\nHost: web\n\n",
        "GET http://web:0x/ HTTP/1.1\nHost: web\n\n",
        "GET http://web:99999/ HTTP/1.1\nHost: web\n\n",
        "CONNECT web HTTP/1.1\nHost: web\n\n",
        "CONNECT :80 HTTP/1.1\nHost: web\n\n",
        "GET  http://web/ HTTP/1.1\nHost: web\n\n",
        "GET http://web/ HTTP/1.1\n\n",
        "GET http://web/ HTTP/2\nHost: web\n\n",
        "hello\n\n",
        "GET http://web/ HTTP/1.1\nHost: web\nX : y\n\n",
        "POST http://web/ HTTP/1.1\nHost: web\nContent-Length: 5\nContent-Length: 6\n\n",
        "POST http://web/ HTTP/1.1\nHost: web\nContent-Length: +5\n\n",
        "POST http://web/ HTTP/1.1\nHost: web\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
    ],
)
def test_what_is_no_request_of_a_proxy_is_answered_so(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        http.target_of(asked(text)[1])
    assert caught.value.answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_coding_that_is_not_known_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        exchanged("POST http://web/ HTTP/1.1\nHost: web\nTransfer-Encoding: gzip\n\n").ask()
    assert caught.value.answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")


def test_body_that_is_malformed_goes_no_further() -> None:
    exchange = exchanged(
        "POST http://web/ HTTP/1.1\nHost: web\nTransfer-Encoding: chunked\n\n2\nhello"
    )
    with pytest.raises(Malformed):
        exchange.ask()


def test_head_without_an_end_is_not_waited_for() -> None:
    here = http.client_connection()
    with pytest.raises(Malformed) as caught:
        for _ in range(100):
            here.receive_data(b"x" * 1024)
            http.next_request(here)
    assert b" 431 " in caught.value.answer


@pytest.mark.parametrize(
    ("reason", "status"),
    [(Reason.REFUSED, 502), (Reason.TIMED_OUT, 504), (Reason.LINK_LOST, 503)],
)
def test_refusal_says_why_in_words(reason: Reason, status: int) -> None:
    answer = http.refusal(Target("web", 443), reason, "it is closed").decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert answer.endswith("tow cannot reach web, port 443: it is closed.\n")


@given(st.binary(max_size=300), st.integers(1, 50))
def test_anything_is_understood_or_malformed(said: bytes, step: int) -> None:
    here = http.client_connection()
    with suppress(Malformed):
        for at in range(0, len(said), step):
            here.receive_data(said[at : at + step])
            if http.next_request(here) is not True:
                return


@given(
    st.sampled_from(["CONNECT", "GET", "POST", "TRACE"]),
    st.text(st.characters(codec="latin-1"), max_size=40),
    st.text(st.characters(codec="latin-1"), max_size=80),
)
def test_any_head_is_understood_or_malformed(method: str, target: str, fields: str) -> None:
    here = http.client_connection()
    here.receive_data(
        f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode("latin-1")
    )
    with suppress(Malformed):
        request = http.next_request(here)
        if isinstance(request, h11.Request):
            http.own_answer(request)
            http.target_of(request)
            if method != "CONNECT":
                Exchange(here, request).ask()


@given(st.binary(max_size=300))
def test_any_answer_is_one_or_is_none(said: bytes) -> None:
    exchange = exchanged(GET)
    exchange.ask()
    with suppress(h11.ProtocolError):
        exchange.answer(said)
        exchange.answer(b"")


Message = tuple[bool, bytes]
"""Whether it is in chunks, and its body."""
messages = st.tuples(st.booleans(), st.binary(max_size=40))


def framed(first_line: str, message: Message) -> bytes:
    in_chunks, body = message
    head = f"{first_line}\r\nHost: web\r\n".encode()
    if not in_chunks:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(connection: h11.Connection, data: bytes) -> bytes:
    """The body of the one message that these bytes are."""
    connection.receive_data(data)
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA, "the message has no end"
        body += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert connection.trailing_data[0] == b""
    return body


@given(st.lists(st.tuples(messages, messages), min_size=1, max_size=4), st.integers(1, 60))
def test_requests_on_one_connection_each_get_their_own_answer(
    exchanges: list[tuple[Message, Message]], size: int
) -> None:
    """However it is cut, and though all are asked before the first is answered."""
    asking = b"".join(framed("POST http://web/ HTTP/1.1", request) for request, _ in exchanges)
    coming = pieces(asking, size)
    here, client = http.client_connection(), h11.Connection(h11.CLIENT)
    for request, answer in exchanges:
        while (found := http.next_request(here)) is True:
            here.receive_data(next(coming))
        assert isinstance(found, h11.Request)
        exchange = Exchange(here, found)
        told = exchange.begin + exchange.ask()
        while not exchange.is_said:
            here.receive_data(next(coming))
            told += exchange.ask()
        assert read(h11.Connection(h11.SERVER), told) == request[1]
        back = b"".join(map(exchange.answer, pieces(framed("HTTP/1.1 200 OK", answer), size)))
        assert exchange.is_over
        client.send(h11.Request(method="POST", target="/", headers={"Host": "web"}.items()))
        client.send(h11.EndOfMessage())
        assert read(client, back) == answer[1]
        client.start_next_cycle()
        here.start_next_cycle()
