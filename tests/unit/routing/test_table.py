"""A mesh's table: who comes and goes keeps it right, and it is read as it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import UsageError
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.routing.table import Participant, RoutedPort, Slot, Table, fallback_port
from towline.wire.target import Port, Target

TWIN = Target("web-twin.shop.svc.cluster.local", 8080)
WEB = RoutedPort(8080, Speaks.HTTP, ToldBy.NAME, 19001, TWIN)
API = RoutedPort(20001, Speaks.LOOK, ToldBy.BYTES, 20003, Target("10.0.0.1", 443), affinity=True)
PORTS = (WEB, API)


def person(name: str, *match: str, ports: tuple[RoutedPort, ...] = (WEB,), **more) -> Participant:
    rules = tuple(map(Match.parse, match or [f"header:x-tow={name}"]))
    slots = dict.fromkeys((Port(each.port) for each in ports), 0)
    return Participant(name, f"{name}@laptop", "2026-01-02T03:04:05+00:00", rules, slots, **more)


def test_each_who_joins_has_ports_of_their_own():
    table = Table(PORTS).joining(person("ada", ports=PORTS)).joining(person("eve"), {20004, 20005})
    ada, eve = table.participants
    # 20001 and 20003 are of the routed ports.
    assert ada.slots == {Port(8080): 20002, Port(20001): 20004}
    assert eve.slots == {Port(8080): 20006}
    assert table.revision == 2
    assert table.participant("eve") == eve
    assert table.participant("bob") is None


def test_port_that_is_not_routed_cannot_be_joined():
    with pytest.raises(UsageError, match="8080/TCP"):
        Table((API,)).joining(person("ada"))


def test_slot_of_who_has_left_is_not_soon_anothers():
    table = Table(PORTS).joining(person("ada")).joining(person("eve")).leaving("ada", "nobody")
    assert [each.id for each in table.present()] == ["eve"]
    slot = table.participants[0].slots[Port(8080)]
    assert slot not in table.joining(person("bob")).participants[-1].slots.values()
    gone = table.without("ada")
    assert slot not in gone.joining(person("bob")).participants[-1].slots.values()
    assert gone.revision == 4


def test_agent_is_to_pass_on_what_nobody_takes_but_no_copies():
    table = Table(PORTS).joining(person("ada", ports=PORTS)).joining(person("eve", copy=True))
    first, second, third = table.slots()
    assert first == Slot(20002, Target("127.0.0.1", 19001))
    assert second == Slot(20004, Target("127.0.0.1", 20003))
    assert third == Slot(20005, None)


def test_overlap_with_others_of_the_same_priority_is_a_conflict():
    table = Table(PORTS).joining(person("ada", "path^=/api/", "header:x-tow=ada"))
    found = table.conflicts(person("eve", "path=/api/users", "header:x-tow=eve,path^=/x"))
    assert {each.other.owner for each in found} == {"ada@laptop"}
    assert [str(each.theirs) for each in found] == ["path^=/api/", "header:x-tow=ada"]
    assert {str(each.wanted) for each in found} == {"path=/api/users"}


@pytest.mark.parametrize(
    "who",
    [
        person("eve", "path^=/other/"),
        person("eve", "path^=/api/", priority=1),
        person("eve", "path^=/api/", copy=True),
        person("eve", "path^=/api/", ports=(API,)),
        person("ada", "path^=/api/"),
    ],
    ids=["other requests", "priority", "copies", "other port", "oneself"],
)
def test_what_is_no_conflict(who):
    assert not Table(PORTS).joining(person("ada", "path^=/api/")).conflicts(who)


def test_copies_of_two_conflict_and_who_is_leaving_does_not():
    table = Table(PORTS).joining(person("ada", "path^=/api/", copy=True))
    assert table.conflicts(person("eve", "method=GET", copy=True))
    assert not table.leaving("ada").conflicts(person("eve", "method=GET", copy=True))


def test_fallback_port_is_free():
    assert fallback_port({19001, 19002, 8080}) == 19003


PEOPLE = st.builds(
    person,
    st.sampled_from("abcdefgh"),
    st.sampled_from(["path^=/a", "header:x=1\\,2", "cookie:c", "query:q~=a|b"]),
    ports=st.sampled_from([(WEB,), (API,), PORTS]),
    priority=st.integers(-3, 3),
    copy=st.booleans(),
)
STEPS = st.lists(st.tuples(st.sampled_from(["join", "leave", "go"]), PEOPLE), max_size=15)


@given(STEPS)
def test_table_stays_right_and_is_read_as_it_was_written(steps):
    table = Table(PORTS)
    for number, (step, who) in enumerate(steps, start=1):
        if step == "join":
            table = table.without(who.id)
            table = Table(PORTS, table.participants, number - 1).joining(who)
        else:
            table = table.leaving(who.id) if step == "leave" else table.without(who.id)
        assert table.revision == number
        numbers = [slot for each in table.participants for slot in each.slots.values()]
        numbers += [number for each in PORTS for number in (each.port, each.fallback)]
        assert len(set(numbers)) == len(numbers)
        assert Table.from_values(json.loads(json.dumps(table.to_values()))) == table


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
GOOD = Table(PORTS).joining(person("ada", ports=PORTS)).joining(person("eve")).to_values()


@given(JSON)
def test_anything_else_is_refused(values):
    with pytest.raises(ValueError, match="no table of a mesh"):
        Table.from_values(values)


@given(st.data())
def test_table_with_something_changed_is_refused_or_right(data):
    values = json.loads(json.dumps(GOOD))
    place = values
    while isinstance(place, (dict, list)) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        table = Table.from_values(values)
    except ValueError:
        return
    assert Table.from_values(table.to_values()) == table


def test_table_with_something_twice_is_refused():
    for broken in (
        {**GOOD, "participants": GOOD["participants"] + GOOD["participants"][1:]},
        {**GOOD, "ports": GOOD["ports"] + GOOD["ports"][1:]},
        {**GOOD, "ports": GOOD["ports"][:1]},
    ):
        with pytest.raises(ValueError, match="no table of a mesh"):
            Table.from_values(broken)
