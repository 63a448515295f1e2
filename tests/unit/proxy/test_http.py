"""HTTP as it is spoken to a proxy: tunnels, and requests that are passed on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.proxy.http import Http
from towline.proxy.request import Malformed
from towline.wire.frames import Reason
from towline.wire.target import Target


def asked(text: str) -> Http:
    talk = Http()
    assert talk.receive(text.replace("\n", "\r\n").encode()) == b""
    return talk


def passed_on(text: str) -> list[str]:
    request = asked(text).request
    assert request is not None
    return request.said.decode().split("\r\n")


@pytest.mark.parametrize(
    ("authority", "target"),
    [("web:443", Target("web", 443)), ("[fd00::1]:80", Target("fd00::1", 80))],
)
def test_tunnel_leads_to_a_host_and_port(authority: str, target: Target) -> None:
    talk = asked(f"CONNECT {authority} HTTP/1.1\nHost: {authority}\n\nhello")
    assert talk.request is not None
    assert (talk.request.target, talk.request.said, talk.rest) == (target, b"", b"hello")
    assert talk.accepted(target).startswith(b"HTTP/1.1 200 ")


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
    request = asked(text).request
    assert request is not None
    assert request.target == target
    assert passed_on(text)[:2] == [f"GET {path} HTTP/1.1", f"Host: {host}"]


def test_fields_for_the_proxy_alone_go_no_further() -> None:
    fields = (
        "Connection: keep-alive, X-Mine, content-length\nX-Mine: 1\nProxy-Connection: keep-alive\n"
        "Proxy-Authorization: Basic eDp5\nTE: trailers\nContent-Length: 0\nX-Kept: a:b\n"
    )
    assert passed_on(f"POST http://web/ HTTP/1.1\n{fields}\n") == [
        "POST / HTTP/1.1",
        "Host: web",
        "Content-Length: 0",
        "X-Kept: a:b",
        "Via: 1.1 tow",
        "Connection: close",
        "",
        "",
    ]


def test_upgrade_is_passed_on_with_all_that_is_said_afterwards() -> None:
    text = "GET http://web/ HTTP/1.1\nConnection: keep-alive, Upgrade\nUpgrade: websocket\n\n"
    assert passed_on(text)[-4:-2] == ["Connection: Upgrade", "Upgrade: websocket"]
    request = asked(text).request
    assert request is not None
    assert request.take(b"frames") == b"frames"


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Content-Length: 5", b"hello"),
        ("Content-Length: 5, 5", b"hello"),
        ("Transfer-Encoding: chunked", b"5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", b"A\r\n0123456789\r\n00\r\n\r\n"),
        ("X: y", b""),
    ],
)
def test_body_is_passed_on_and_no_request_behind_it(fields: str, body: bytes, cut: int) -> None:
    request = asked(f"POST http://web/ HTTP/1.1\n{fields}\n\n").request
    assert request is not None
    said = body + b"GET http://other/ HTTP/1.1\r\n\r\n"
    pieces = [said[at : at + cut] for at in range(0, len(said), cut)]
    assert b"".join(map(request.take, pieces)) == body


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\nHost: 127.0.0.1:1080\n\n",
        "GET https://web/ HTTP/1.1\n\n",
        "GET ftp://web/ HTTP/1.1\n\n",
        "GET http:///x HTTP/1.1\n\n",
        "GET http://web:0x/ HTTP/1.1\n\n",
        "GET http://web:99999/ HTTP/1.1\n\n",
        "CONNECT web HTTP/1.1\n\n",
        "CONNECT :80 HTTP/1.1\n\n",
        "GET  http://web/ HTTP/1.1\n\n",
        "GET http://web/ HTTP/2\n\n",
        "hello\n\n",
        "GET http://web/ HTTP/1.1\nX : y\n\n",
        "GET http://web/ HTTP/1.1\n folded\n\n",
        "POST http://web/ HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n\n",
        "POST http://web/ HTTP/1.1\nContent-Length: +5\n\n",
        "POST http://web/ HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
        "POST http://web/ HTTP/1.1\nTransfer-Encoding: gzip\n\n",
    ],
)
def test_what_is_no_request_of_a_proxy_is_answered_so(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        asked(text)
    assert caught.value.answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_head_without_an_end_is_not_waited_for() -> None:
    talk = Http()
    with pytest.raises(Malformed) as caught:
        for _ in range(100):
            talk.receive(b"x" * 1024)
    assert b" 431 " in caught.value.answer


@pytest.mark.parametrize(
    ("reason", "status"),
    [(Reason.REFUSED, 502), (Reason.TIMED_OUT, 504), (Reason.LINK_LOST, 503)],
)
def test_refusal_says_why_in_words(reason: Reason, status: int) -> None:
    talk = asked("CONNECT web:443 HTTP/1.1\n\n")
    answer = talk.refused(reason, "it is closed").decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert answer.endswith("tow cannot reach web, port 443: it is closed.\n")


@given(st.binary(max_size=300), st.integers(1, 50))
def test_anything_is_understood_or_malformed(said: bytes, step: int) -> None:
    talk = Http()
    with suppress(Malformed):
        for at in range(0, len(said), step):
            talk.receive(said[at : at + step])


@given(
    st.sampled_from(["CONNECT", "GET", "POST"]),
    st.text(st.characters(codec="latin-1"), max_size=40),
    st.text(st.characters(codec="latin-1"), max_size=80),
)
def test_any_head_is_understood_or_malformed(method: str, target: str, fields: str) -> None:
    with suppress(Malformed):
        Http().receive(f"{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n".encode("latin-1"))
