"""A real Envoy takes each regular expression that we take, and means what we think by it."""

from __future__ import annotations

from tests.unit.routing.test_re2 import TAKEN
from towline.routing.rules import Match, Operator, Place, Rule

LONG = "(" + "|".join(f"user-{number}[a-z]{{1,200}}" for number in range(50)) + ")"


async def test_every_expression_that_is_taken_is_known_to_envoy(scene):
    for pattern in (*TAKEN, LONG):
        rule = str(Match((Rule(Place.HEADER, Operator.REGEX, pattern, "x-tow"),)))
        await scene.router.join("ada", rule, slots=[1])
        await scene.router.leave("ada")


async def test_characters_of_values_mean_themselves(scene):
    text = "!\"#$%&'()*+-./:;<=>@[\\]^_`{|}~ a1"
    for operator in ("=", "^=", "*="):
        for place in ("header:x-tow", "query:q", "path", "host", "cookie:c"):
            value = text.replace(" ", "") if place != "header:x-tow" else text
            value = f"/{value}" if place == "path" else value.replace(";", "").replace('"', "")
            await scene.router.join("ada", f"{place}{operator}{value}", slots=[1])
            await scene.router.leave("ada")
    await scene.join("ada", r"path*=.+(")
    assert (await scene.ask("GET /a.+(b")).json()["who"] == "ada"
    assert (await scene.ask("GET /aaa(b")).json()["who"] == "original"
