"""A part in a mesh: what is refused, and who is dropped by whom."""

from __future__ import annotations

import pytest

from towline.errors import UsageError
from towline.features.downlink.pushing import InForce
from towline.features.downlink.seat import LOOK_SECONDS, Seat
from towline.routing import envoy
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.routing.table import Participant, RoutedPort, Table
from towline.wire.target import Port, Target

PORTS = (RoutedPort(80, Speaks.HTTP, ToldBy.NAME, 19001, Target("twin", 80)),)
GRACE_SECONDS = 60.0


def person(name: str, match: str = "") -> Participant:
    rules = (Match.parse(match or f"header:x-user={name}"),)
    return Participant(name, f"{name}@laptop", "now", rules, {Port(80): 0})


def seat(who: Participant) -> Seat:
    return Seat(who, {Port(80): Target("localhost", 80)}, (), GRACE_SECONDS, force=False)


class Known:
    """What a seat knows of the table."""

    def __init__(self, table: Table) -> None:
        self.table = table


def stale(me: str, absent: dict[str, float], *names: str) -> list[str]:
    """Whom one drops of those who are in the table in this order, by how long they are away."""
    table = Table(PORTS)
    for name in names:
        table = table.joining(person(name))
    slots = {each.id: each.slots[Port(80)] for each in table.participants}
    mine = table.participant(me)
    assert mine
    made = seat(mine)
    made.attach(Known(table), None, None)  # type: ignore[arg-type]
    in_force = InForce(table.revision, {slots[name]: gone for name, gone in absent.items()})
    return [each.id for each in table.participants if made._is_stale(each, in_force)]


async def test_who_is_away_for_the_grace_time_is_dropped_by_who_comes_first() -> None:
    assert stale("ada", {"bob": GRACE_SECONDS + 1}, "ada", "bob", "eve") == ["bob"]
    assert stale("eve", {"bob": GRACE_SECONDS + 1}, "ada", "bob", "eve") == []
    assert stale("ada", {"bob": GRACE_SECONDS - 1}, "ada", "bob", "eve") == []


async def test_others_do_it_if_the_first_does_not() -> None:
    long = GRACE_SECONDS + LOOK_SECONDS + 1
    assert stale("eve", {"bob": long}, "ada", "bob", "eve") == ["bob"]
    assert stale("eve", {"ada": GRACE_SECONDS + 1}, "ada", "bob", "eve") == ["ada"]


async def test_nobody_is_judged_while_the_agent_has_ended_all_claims() -> None:
    assert stale("ada", {"ada": 1.0, "bob": GRACE_SECONDS + 1}, "ada", "bob") == []


async def test_rules_that_the_router_cannot_have_are_refused_before_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def files(table: Table) -> None:
        raise ValueError("too much")

    monkeypatch.setattr(envoy, "files", files)
    with pytest.raises(UsageError, match="too much"):
        seat(person("bob"))._joined(Table(PORTS))


async def test_table_stays_as_it_is_when_rules_overlap() -> None:
    table = Table(PORTS).joining(person("ada", "path^=/api"))
    assert seat(person("bob"))._joined(table) is table
