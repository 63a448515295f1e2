"""What `tow birdseye` prints, and when it prints that anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import click
import pytest

from tests.unit.features.upkeep.leftovers import Cluster, cluster
from towline.cli import birdseye as module
from towline.features.upkeep.birdseye import Sight, Use, View
from towline.features.upkeep.presence import Whereabouts
from towline.kube.access import Right

SECONDS = 30


def use(laptop: Whereabouts = Whereabouts.THERE, *rules: str, left: bool = False) -> Use:
    return Use("mesh", "selector", rules, "ada@laptop", "2026", ("p",), laptop, "", left)


def test_what_nobody_is_at_has_a_line_and_each_who_is_has_one() -> None:
    sights = [Sight("shop", "svc/a", []), Sight("shop", "svc/b", [use(), use()])]
    lines = module._picture(View(sights, (), ()), "text").splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["shop", "svc/a", "-"],
        ["shop", "svc/b", "mesh"],
        ["shop", "svc/b", "mesh"],
    ]


def test_rules_are_shown_instead_of_the_mode() -> None:
    shown = module._cells(use(Whereabouts.AWAY, "host=a", "path=/b"))
    assert shown == ("mesh", "host=a or path=/b", "ada@laptop", "2026", "away")
    assert module._cells(use(Whereabouts.GONE, left=True))[1:] == (
        "selector",
        "ada@laptop",
        "2026",
        "gone: left behind",
    )


def test_notes_say_what_is_left_out_and_what_was_left_behind() -> None:
    view = View([Sight("", "", [use(left=True)])], [Right("list", "", "pods")], ())
    missing, left = module._notes(view)
    assert "You may not list pods" in missing
    assert "'tow clean'" in left


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    async with cluster() as made:
        yield made


@pytest.mark.parametrize("output", ["text", "json"])
async def test_it_is_shown_anew_when_it_has_changed_and_only_then(
    place: Cluster, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    said = ""

    async def until(look: Callable[[str], bool]) -> None:
        nonlocal said
        async with asyncio.timeout(SECONDS):
            while not look(said):
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out

    view = await module.birdseye(place.client, "default")
    async with asyncio.TaskGroup() as group:
        shows = module._show(place.client, "default", view, output, click.echo)
        task = group.create_task(shows)
        await until(lambda said: "no services" in said or said == "[]\n")
        place.seen_from_here()
        await until(lambda _: len(place.server.requests) > 30)
        await place.service()
        await until(lambda said: "svc/web" in said)
        task.cancel()
    if output == "json":
        documents = [json.loads(line) for line in said.splitlines()]
        assert [len(each) for each in documents] == [0, 1]
    else:
        assert said.count("svc/web") == 1


async def test_what_cannot_be_seen_for_the_moment_is_said_and_looked_for_on(
    place: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.service()
    place.server.allows = lambda asked: True
    async with module.Client(place.server.access()) as client:
        view, trouble = await module._again(client, "default", View((), (), ()))
        assert (len(view.sights), trouble) == (1, "")
        place.server.token = "another"  # so that ours is not accepted any more
        again, trouble = await module._again(client, "default", view)
        assert again == view
        assert trouble.startswith("error: ")
