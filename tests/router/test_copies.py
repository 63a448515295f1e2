"""Participants who get copies: the answer is another's, and theirs is dropped."""

from __future__ import annotations

import asyncio

from tests.router import envoys, http1

ADA = "X-Tow: ada"


async def _seen(server: http1.Server, count: int) -> None:
    while len(server.requests) < count:
        await asyncio.sleep(0.01)


async def test_copies_of_what_satisfies_a_rule_whoever_gets_the_request(scene):
    ada = await scene.join("ada", "header:x-tow=ada")
    eve = await scene.join("eve", "path^=/api/", copy=True)
    body = b"x" * 100_000
    length = f"Content-Length: {len(body)}"
    told = (await scene.ask("POST /api/a", length, "Host: Web.Example", body=body)).json()
    assert told["who"] == "original"
    assert (await scene.ask("POST /api/b", length, ADA, body=body)).json()["who"] == "ada"
    assert (await scene.ask("GET /other")).json()["who"] == "original"
    assert (await scene.ask("GET /other", ADA)).json()["who"] == "ada"
    await _seen(eve, 2)
    assert [each.first for each in eve.requests] == ["POST /api/a HTTP/1.1", "POST /api/b HTTP/1.1"]
    assert eve.requests[0].values("host") == ["Web.Example"]
    assert len(ada.requests) == 2


async def test_copies_to_nobody_harm_nothing_and_go_nowhere_else(scene):
    await scene.router.join("eve", "method=GET", slots=[envoys.free_port()], copy=True)
    for _ in range(5):
        answered = await scene.ask()
        assert answered.json()["who"] == "original"
        assert not answered.values("x-towline")
    name = f"cluster.participant-eve-{scene.router.port}.upstream_cx_connect_fail"
    await scene.router.settled(name, 5)
    assert len(scene.original.requests) == 5


async def test_who_gets_copies_and_is_slow_delays_nobody(scene):
    async def never(exchange: http1.Exchange) -> None:
        await asyncio.Event().wait()

    eve = await scene.join("eve", "method=GET", handler=never, copy=True)
    async with asyncio.timeout(20):
        for _ in range(20):
            assert (await scene.ask()).json()["who"] == "original"
        await _seen(eve, 20)
