"""What is kept of the cluster's answers, and for how long."""

import dns.flags
import dns.rcode
import pytest

from tests.unit.dns.fakedns import Clock, Setting, ask, soa, texts
from towline.dns.cache import CAPACITY, MAX_ENTRY_BYTES, Cache, lifetime
from towline.wire.dns import (
    CLASS_IN,
    TC,
    Edns,
    Message,
    Name,
    Question,
    Rcode,
    Record,
    Type,
    nodata,
    nxdomain,
    query,
    reply,
    servfail,
)

WEB = Name.of("web.default.svc.cluster.local")
QUERY = query(WEB, Type.A, ident=1)
ALIAS = Record(WEB, Type.CNAME, CLASS_IN, 60, b"\2db\7example\0")


def address(last, ttl=30, name=WEB):
    return Record(name, Type.A, CLASS_IN, ttl, bytes([10, 96, 0, last]))


def answer(*records):
    return reply(QUERY, answers=records)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    return Cache(30, clock)


def put(cache, message, asked=QUERY):
    cache.put(asked.encode(), message.encode(), message)


def get(cache, asked=QUERY):
    return cache.get(asked.encode())


def test_answer_is_given_again_and_its_ttl_counts_down(cache, clock):
    put(cache, answer(address(1, 20)))
    clock.now += 7.9

    assert get(cache).answers == (address(1, 13),)
    assert get(cache).edns == answer().edns

    clock.now += 12.1
    assert get(cache) is None


def test_answer_is_the_same_whatever_the_querys_id(cache):
    put(cache, answer(address(1)))

    assert get(cache, query(WEB, Type.A, ident=2)) is not None


@pytest.mark.parametrize(
    "other",
    [
        query(WEB, Type.AAAA, ident=1),
        query(Name.of("api.default.svc.cluster.local"), Type.A, ident=1),
        query(WEB, Type.A, ident=1, udp_size=None),
        query(WEB, Type.A, ident=1, udp_size=4096),
        Message(1, 0, QUERY.questions, additionals=QUERY.additionals),
        Message(1, QUERY.flags, QUERY.questions, (), (), (Edns(1232, dnssec_ok=True).record(),)),
    ],
    ids=["type", "name", "no-edns", "size", "flags", "dnssec"],
)
def test_answer_to_one_query_is_none_to_another(cache, other):
    put(cache, answer(address(1)))

    assert get(cache, other) is None


def test_answer_is_kept_no_longer_than_is_wanted(cache, clock):
    put(cache, answer(address(1, 3600)))
    clock.now += 29

    assert get(cache).answers == (address(1, 3571),)

    clock.now += 1
    assert get(cache) is None


def test_nothing_is_kept_unless_that_is_wanted(clock):
    cache = Cache(0, clock)
    put(cache, answer(address(1)))

    assert get(cache) is None


def test_addresses_take_turns_in_being_the_first(cache):
    end = Name.of("db.example")
    put(cache, answer(ALIAS, *(address(last, name=end) for last in (1, 2, 3))))
    found = [get(cache).answers for _ in range(3)]

    assert [each[0] for each in found] == [ALIAS] * 3
    assert [[record.rdata[3] for record in each[1:]] for each in found] == [
        [2, 3, 1],
        [3, 1, 2],
        [1, 2, 3],
    ]


def test_oldest_is_forgotten_when_there_are_too_many(cache):
    queries = [query(Name.of(f"n{number}"), Type.A) for number in range(CAPACITY + 1)]
    for each in queries:
        put(cache, reply(each, answers=(address(1),)), each)

    assert get(cache, queries[0]) is None
    assert all(get(cache, each) for each in queries[1:])


def test_large_answer_is_not_kept(cache):
    large = [Record(WEB, Type.TXT, CLASS_IN, 30, bytes(MAX_ENTRY_BYTES))]
    put(cache, answer(address(1), *large))

    assert get(cache) is None


def test_answer_that_may_not_be_kept_takes_the_place_of_the_one_before(cache):
    put(cache, answer(address(1)))
    put(cache, answer(address(2, 0)))

    assert get(cache) is None


def test_all_is_forgotten_at_once(cache):
    put(cache, answer(address(1)))
    cache.clear()

    assert get(cache) is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (answer(address(1, 20), address(2, 10)), 10),
        (answer(ALIAS, address(1, 20)), 20),
        (answer(), 0),
        (answer(ALIAS), 0),
        (reply(QUERY, answers=(ALIAS,), authorities=(soa(5),)), 5),
        (nodata(QUERY, soa(7)), 7),
        (nodata(QUERY), 0),
        (nxdomain(QUERY, soa(7)), 7),
        (nxdomain(QUERY), 0),
        (reply(QUERY, Rcode.NXDOMAIN, (ALIAS, address(1))), 0),
        (servfail(QUERY), 0),
        (reply(QUERY, Rcode.REFUSED, (address(1),)), 0),
        (Message(1, TC, (Question(WEB, Type.A),), (address(1),)), 0),
    ],
)
def test_answer_holds_as_long_as_it_says(message, seconds):
    assert lifetime(message) == seconds


async def test_resolver_asks_the_cluster_once_while_its_answer_holds():
    setting = Setting(cache_seconds=60)
    async with setting.resolver:
        for _ in range(3):
            found = await ask(setting, "web")
            assert texts(found) == ["web. 10.96.0.1"]
        assert setting.cluster.asked[str(WEB), Type.A] == 1
        setting.clock.now += 2
        assert (await ask(setting, "web")).answer[0].ttl == 3

        setting.clock.now += 3
        await ask(setting, "web")
        assert setting.cluster.asked[str(WEB), Type.A] == 2
    assert setting.resolver.counts.cached >= 3


async def test_resolver_keeps_denials_as_long_as_they_say():
    setting = Setting(cache_seconds=60)
    setting.cluster.soa_ttl = 9
    async with setting.resolver:
        for _ in range(3):
            found = await ask(setting, "nope.default.svc.cluster.local")
            assert found.rcode() == dns.rcode.NXDOMAIN
            assert found.authority
            setting.clock.now += 3
        assert sum(setting.cluster.asked.values()) == 1
        await ask(setting, "nope.default.svc.cluster.local")
    assert sum(setting.cluster.asked.values()) == 2


async def test_resolver_keeps_nothing_when_it_is_to_forget():
    setting = Setting(cache_seconds=60)
    async with setting.resolver:
        await ask(setting, "web")
        setting.resolver.forget()
        await ask(setting, "web")

    assert setting.cluster.asked[str(WEB), Type.A] == 2


async def test_answer_that_is_kept_is_made_to_fit_each_client():
    setting = Setting(cache_seconds=60)
    for last in range(1, 60):
        setting.cluster.add(WEB, "A", f"10.96.1.{last}")
    async with setting.resolver:
        for _ in range(2):
            assert (await ask(setting, str(WEB))).flags & dns.flags.TC
            assert len(texts(await ask(setting, str(WEB), tcp=True))) == 60
    assert setting.cluster.asked[str(WEB), Type.A] == 1


async def test_lookups_are_counted_by_what_came_of_them():
    setting = Setting(cache_seconds=60)
    async with setting.resolver as resolver:
        for name in ("web.default.svc.cluster.local",) * 2 + ("nope.cluster.local", "x.localhost"):
            await ask(setting, name)
        setting.cluster.error = ConnectionResetError()
        await ask(setting, "db.cluster.local")

        assert resolver.counts.as_dict() == {
            "lookups": 5,
            "cluster": 3,
            "upstream": 1,
            "cached": 1,
            "nxdomain": 2,
            "failed": 1,
        }
