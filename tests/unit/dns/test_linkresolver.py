"""The resolver that systemd-resolved asks: names of one label, and what is not to be kept."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from tests.unit.dns.fakedns import Setting, ask, soa, texts
from towline.dns.linkresolver import LinkResolver
from towline.wire.dns import Name, Type, query


@pytest.fixture
def setting():
    setting = Setting(kind=LinkResolver)
    setting.upstream.soa_for = lambda name: soa(86400)
    return setting


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.towline.internal", ["web.towline.internal. 10.96.0.1"]),
        ("WEB.Towline.Internal", ["WEB.Towline.Internal. 10.96.0.1"]),
        ("web.default", ["web.default. 10.96.0.1"]),
        ("web.default.svc.cluster.local", ["web.default.svc.cluster.local. 10.96.0.1"]),
        ("example.com", ["example.com. 192.0.2.1"]),
    ],
)
async def test_names_are_answered_under_the_name_that_was_asked(setting, name, expected, tcp):
    async with setting.resolver:
        assert texts(await ask(setting, name, tcp=tcp)) == expected


async def test_one_label_only_stands_for_a_shorter_name(setting):
    async with setting.resolver:
        for name, rcode in (
            ("towline.internal", dns.rcode.NOERROR),
            ("web.default.towline.internal", dns.rcode.NXDOMAIN),
            ("example.com.towline.internal", dns.rcode.NXDOMAIN),
        ):
            reply = await ask(setting, name)
            assert (reply.rcode(), texts(reply)) == (rcode, [])
    assert not setting.upstream.asked
    assert not setting.cluster.asked


async def test_short_name_is_asked_of_the_world_without_what_stands_for_it(setting):
    setting.upstream.add(Name.of("router"), "A", "192.0.2.9")
    async with setting.resolver:
        reply = await ask(setting, "router.towline.internal")
    assert texts(reply) == ["router.towline.internal. 192.0.2.9"]
    assert not any("towline" in name for name in setting.upstream.names)


@pytest.mark.parametrize(
    "name", ["web.towline.internal", "web.default", "web.default.svc.cluster.local"]
)
async def test_answer_of_the_cluster_is_not_to_be_kept(setting, name):
    async with setting.resolver:
        reply = await ask(setting, name)
    assert {rrset.ttl for rrset in reply.answer} == {0}


@pytest.mark.parametrize(
    "name", ["no.towline.internal", "no.other", "no.other.svc", "no.default.svc.cluster.local"]
)
async def test_denial_of_what_the_cluster_may_yet_have_is_not_to_be_kept(setting, name):
    async with setting.resolver:
        reply = await ask(setting, name)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.authority == []


async def test_nodata_is_not_to_be_kept_and_no_denial_of_the_name(setting):
    async with setting.resolver:
        reply = await ask(setting, "only4.towline.internal", "AAAA")
    assert (reply.rcode(), reply.answer, reply.authority) == (dns.rcode.NOERROR, [], [])


async def test_answers_of_the_world_are_untouched(setting):
    async with setting.resolver:
        assert {rrset.ttl for rrset in (await ask(setting, "example.com")).answer} == {5}
        assert (await ask(setting, "a.b.c.d.e.example.com")).authority != []


async def test_answer_that_is_too_long_with_its_suffix_is_truncated(setting):
    for number in range(40):
        setting.cluster.add(Name.of("many.default.svc.cluster.local"), "A", f"10.244.1.{number}")
    async with setting.resolver:
        reply = await ask(setting, "many.towline.internal", use_edns=False)
        assert reply.flags & dns.flags.TC
        assert len(texts(await ask(setting, "many.towline.internal", tcp=True))) == 40


async def test_finish_waits_for_answers_and_no_longer_than_it_may(setting):
    setting.cluster.open.clear()
    async with setting.resolver as resolver:
        await resolver.finish(0)
        asking = resolver._spawn(resolver.answer(query(Name.of("web"), Type.A).encode(), False))
        await setting.cluster.was_asked.wait()
        await resolver.finish(0.01)
        assert not asking.done()
        setting.cluster.open.set()
        await resolver.finish(5)
        assert asking.done()
