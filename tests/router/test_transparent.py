"""What the router does to requests and responses: as little as can be."""

from __future__ import annotations

import asyncio

import pytest

from tests.router import http1

ADA = ("X-Tow: ada",)
# What HTTP itself has a proxy say of each connection.
OF_THE_HOP = {"connection", "transfer-encoding", "x-forwarded-for", "x-forwarded-proto"}


async def test_each_request_of_a_kept_connection_is_routed_by_itself(scene):
    await scene.join("ada", "header:x-tow=ada")
    async with scene.connected() as client:
        told = [(await client.ask("GET /", *headers)).json() for headers in ((), ADA) * 5]
    assert [each["who"] for each in told] == ["original", "ada"] * 5
    # And kept are those behind it, too.
    assert {each["connection"] for each in told} == {0}


async def test_each_client_comes_to_the_pods_on_a_connection_of_its_own(scene):
    """What leads there, an address of the cluster, chooses a pod for each connection."""
    told = [(await scene.ask()).json() for _ in range(10)]
    assert [each["connection"] for each in told] == [*range(10)]


@pytest.mark.parametrize("headers", [(), ADA], ids=["original", "participant"])
async def test_requests_arrive_as_they_were_sent(scene, headers):
    await scene.join("ada", "header:x-tow=ada")
    sent = [
        "Host: Web.Example:8080",
        "User-Agent: some/1",
        "X-mIxEd: a;  b",
        "Accept-Encoding: br",
        "X-Request-Id: mine",
        "X-Envoy-Attempt-Count: 3",
        "X-Envoy-External-Address: 192.0.2.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 192.0.2.7",
        "Cookie: a=b; c=d",
        *headers,
    ]
    line = "GET /a//b/../%2e%2F%61?x=%20&y=a+b&y="
    told = (await scene.ask(line, *sent)).json()
    assert told["line"] == f"{line} HTTP/1.1"
    came = {f"{name}: {value}" for name, value in told["headers"]}
    assert came >= {each for each in sent if "Forwarded-For" not in each}
    assert dict(told["headers"])["X-Forwarded-For"] == "192.0.2.7,127.0.0.1"
    added = {name.lower() for name, _ in told["headers"]} - {
        each.partition(":")[0].lower() for each in sent
    }
    assert added <= OF_THE_HOP


async def test_client_that_nobody_forwarded_is_named(scene):
    told = (await scene.ask()).json()
    names = dict(told["headers"])
    assert names["x-forwarded-for"] == "127.0.0.1"
    assert names["Host"] == "web"


async def test_responses_arrive_as_they_were_sent(scene):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send(
            "299 So so",
            *("Server: mine/1", "X-mIxEd: 1", "Set-Cookie: a=b", "Set-Cookie: c=d"),
            *("Date: Thu, 01 Jan 1970 00:00:00 GMT", "X-Envoy-Upstream-Service-Time: 7"),
            *("Via: 1.1 other", "Content-Length: 2"),
            body=b"ok",
        )

    scene.original.handler = answer
    answered = await scene.ask()
    assert answered.status == 299
    assert sorted(answered.headers) == sorted(
        [
            ("Server", "mine/1"),
            ("X-mIxEd", "1"),
            ("Set-Cookie", "a=b"),
            ("Set-Cookie", "c=d"),
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("X-Envoy-Upstream-Service-Time", "7"),
            ("Via", "1.1 other"),
            ("Content-Length", "2"),
        ]
    )


@pytest.mark.parametrize(
    "line", ["OPTIONS /", "HEAD /", "PATCH /", "PROPFIND /", "BREW /", "own /"]
)
async def test_methods_pass(scene, line):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send("204 No Content")

    scene.original.handler = answer
    assert (await scene.ask(line)).status == 204
    assert scene.original.requests[0].first == f"{line} HTTP/1.1"


async def test_client_that_speaks_http_1_0_is_answered(scene):
    async with scene.connected() as client:
        client.writer.write(b"GET /old HTTP/1.0\r\n\r\n")  # without a host
        answered = await client.receive()
        assert await client.reader.read() == b""
    assert answered.json()["line"] == "GET /old HTTP/1.1"


async def test_large_headers_pass(scene):
    big = "x" * 60_000
    many = [f"X-{number}: {number}" for number in range(500)]
    told = (await scene.ask("GET /", f"X-Big: {big}", *many)).json()
    assert len(told["headers"]) > 500
    assert dict(told["headers"])["X-Big"] == big


async def test_client_that_asks_whether_to_go_on_is_told_by_the_pods(scene):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send("100 Continue")
        body = await http1.read_body(exchange.request, exchange.reader)
        exchange.send("200 OK", f"Content-Length: {len(body)}", body=body)

    scene.original.handler = answer
    async with scene.connected() as client:
        client.send("POST /", "Expect: 100-continue", "Content-Length: 4")
        assert (await http1.read_head(client.reader)).status == 100
        client.writer.write(b"body")
        assert (await client.receive()).body == b"body"
    assert scene.original.requests[0].values("expect") == ["100-continue"]


async def test_early_hints_pass(scene):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send("103 Early Hints", "Link: </style.css>")
        exchange.send("200 OK", "Content-Length: 0")

    scene.original.handler = answer
    async with scene.connected() as client:
        client.send("GET /")
        hints = await http1.read_head(client.reader)
        assert (hints.status, hints.values("link")) == (103, ["</style.css>"])
        assert (await client.receive()).status == 200


async def test_errors_of_the_pods_are_passed_on_and_nothing_is_tried_twice(scene):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send("503 Service Unavailable", "Retry-After: 3", "Content-Length: 0")

    scene.original.handler = answer
    answered = await scene.ask()
    assert (answered.status, answered.values("retry-after")) == (503, ["3"])
    assert len(scene.original.requests) == 1


async def test_request_on_a_connection_that_the_pods_close_is_not_lost(scene):
    """Servers that keep connections for long close them whenever they like."""
    scene.original.handler = closing = Closing()
    async with scene.connected() as client:
        for _ in range(30):
            assert (await client.ask()).status == 200
    assert closing.closed > 10


class Closing:
    """Answers, and closes the connection without having said so."""

    closed = 0

    async def __call__(self, exchange: http1.Exchange) -> None:
        exchange.send("200 OK", "Content-Length: 0")
        await exchange.writer.drain()
        self.closed += 1
        exchange.writer.close()
        raise asyncio.CancelledError
