"""The resolver as its clients see it, over real loopback sockets, with dnspython as the client."""

import asyncio

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.unit.dns.fakedns import POD_RESOLV_CONF, Setting, ask, denied_long_ago, texts
from towline.dns import resolver
from towline.wire.dns import Name


@pytest.mark.parametrize(
    ("name", "rtype", "expected"),
    [
        ("web", "A", ["web. 10.96.0.1"]),
        ("web", "AAAA", ["web. fd00:96::1"]),
        ("WEB", "A", ["WEB. 10.96.0.1"]),
        ("web.default", "A", ["web.default. 10.96.0.1"]),
        ("api.other", "A", ["api.other. 10.96.0.3"]),
        ("api.other.svc", "A", ["api.other.svc. 10.96.0.3"]),
        ("api.other.svc.cluster.local", "A", ["api.other.svc.cluster.local. 10.96.0.3"]),
        ("db", "A", ["db. 10.244.0.5", "db. 10.244.0.6"]),
        ("pod-0.db", "A", ["pod-0.db. 10.244.0.5"]),
        ("pod-1.db.default", "A", ["pod-1.db.default. 10.244.0.6"]),
        ("pod-0.cache.other", "A", ["pod-0.cache.other. 10.244.0.7"]),
        ("pod-0.cache.other.svc", "A", ["pod-0.cache.other.svc. 10.244.0.7"]),
        ("10-244-0-5.default.pod", "A", ["10-244-0-5.default.pod. 10.244.0.5"]),
        ("ext", "A", ["ext. db.corp.example."]),
        (
            "_http._tcp.web.default.svc",
            "SRV",
            ["_http._tcp.web.default.svc. 0 100 80 web.default.svc.cluster.local."],
        ),
        ("_http._tcp.web", "SRV", ["_http._tcp.web. 0 100 80 web.default.svc.cluster.local."]),
    ],
)
async def test_cluster_name_is_answered_under_the_name_that_was_asked(name, rtype, expected):
    setting = Setting()
    async with setting.resolver:
        for tcp in (False, True):
            reply = await ask(setting, name, rtype, tcp=tcp)

            assert texts(reply) == expected
            assert reply.rcode() == dns.rcode.NOERROR
            assert {rrset.ttl for rrset in reply.answer} == {5}


async def test_both_families_and_transports_serve_on_one_port():
    setting = Setting()
    async with setting.resolver as resolver:
        assert resolver.addresses == ("127.0.0.1", "::1")
        for address in resolver.addresses:
            for tcp in (False, True):
                assert texts(await ask(setting, "web", tcp=tcp, address=address))


async def test_own_namespace_goes_first():
    setting = Setting()
    async with setting.resolver:
        assert texts(await ask(setting, "both")) == ["both. 10.96.0.20"]
        assert texts(await ask(setting, "both.other")) == ["both.other. 10.96.0.21"]


@pytest.mark.parametrize("name", ["only4", "only4.default", "only4.default.svc.cluster.local"])
async def test_absent_family_is_no_data(name):
    setting = Setting()
    setting.upstream.add(Name.of(name), "AAAA", "2001:db8::1")
    async with setting.resolver:
        reply = await ask(setting, name, "AAAA")

        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
        assert reply.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize(
    "name",
    ["nope", "nope.other", "nope.other.svc", "nope.default.svc.cluster.local", "nope.example"],
)
async def test_name_that_does_not_exist_is_told_so(name):
    setting = Setting()
    async with setting.resolver:
        assert (await ask(setting, name)).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("name", ["nope.default.svc.cluster.local", "nope.other.svc"])
async def test_clusters_denial_of_its_own_name_is_final(name):
    setting = Setting()
    async with setting.resolver:
        await ask(setting, name)

        assert setting.upstream.names == []


async def test_namespace_of_the_same_name_does_not_hide_a_host_outside():
    setting = Setting()
    setting.upstream.add(Name.of("other"), "A", "192.0.2.9")
    async with setting.resolver:
        assert texts(await ask(setting, "other")) == ["other. 192.0.2.9"]


async def test_name_outside_is_answered_by_upstream_as_it_is():
    setting = Setting()
    async with setting.resolver:
        reply = await ask(setting, "EXAMPLE.com", use_edns=0, payload=1400)

        assert texts(reply) == ["EXAMPLE.com. 192.0.2.1"]
        assert setting.upstream.by_tcp == [False]
        await ask(setting, "example.com", tcp=True)
        assert setting.upstream.by_tcp == [False, True]


async def test_query_goes_upstream_byte_for_byte():
    seen = []

    async def ask_upstream(data, tcp):
        seen.append(data)
        raise OSError

    setting = Setting(ask_upstream=ask_upstream)
    query = dns.message.make_query("eXample.com", "A", use_edns=0, payload=1400, want_dnssec=True)
    query.use_edns(options=[dns.edns.GenericOption(65001, b"hello")])
    async with setting.resolver:
        await setting.resolver.answer(query.to_wire(), False)

    assert seen == [query.to_wire()]


async def test_domain_outside_costs_the_cluster_one_question_per_suffix_and_time():
    setting = Setting()
    setting.cluster.soa_ttl = 30
    async with setting.resolver:
        for name in ("example.com", "www.google.com", "github.com", "a.b.com"):
            await asyncio.gather(ask(setting, name, "A"), ask(setting, name, "AAAA"))
        expected = {
            ("com.default.svc.cluster.local", 1): 1,
            ("com.svc.cluster.local", 1): 1,
            ("com.cluster.local", 1): 1,
        }
        assert setting.cluster.asked == expected

        setting.clock.now += 29
        await ask(setting, "example.com")
        assert setting.cluster.asked == expected

        setting.clock.now += 2
        await ask(setting, "example.com")
        assert setting.cluster.asked == dict.fromkeys(expected, 2)


async def test_single_label_outside_costs_one_question_per_suffix_while_its_denial_holds():
    setting = Setting()
    setting.cluster.soa_ttl = 7
    setting.upstream.add(Name.of("printer"), "A", "192.0.2.7")
    async with setting.resolver:
        for _ in range(3):
            assert texts(await ask(setting, "printer")) == ["printer. 192.0.2.7"]
        assert set(setting.cluster.asked.values()) == {1}
        assert len(setting.cluster.asked) == 3

        setting.clock.now += 8
        await ask(setting, "printer")
        assert set(setting.cluster.asked.values()) == {2}


async def test_service_made_after_a_denial_is_found_when_that_has_run_out():
    setting = Setting()
    async with setting.resolver:
        assert (await ask(setting, "late")).rcode() == dns.rcode.NXDOMAIN
        setting.cluster.add(Name.of("late.default.svc.cluster.local"), "A", "10.96.0.40")
        setting.clock.now += 6

        assert texts(await ask(setting, "late")) == ["late. 10.96.0.40"]


async def test_service_looked_up_is_known_to_be_there_for_its_pods():
    setting = Setting()
    async with setting.resolver:
        await ask(setting, "db")
        setting.cluster.asked.clear()
        setting.clock.now += 20
        await ask(setting, "pod-0.db")

        assert "db.default.svc.cluster.local" not in setting.cluster.names


async def test_name_in_a_namespace_known_from_long_ago_is_asked_for_while_that_is_checked():
    asked = asyncio.Event()
    asked.set()

    async def ask_cluster(data):
        if b"\3api" in data:
            asked.set()
        await asked.wait()
        return await setting.cluster.answer(data)

    setting = Setting(ask_cluster=ask_cluster)
    async with setting.resolver:
        await ask(setting, "api.other")
        setting.clock.now += 3600
        asked.clear()

        assert texts(await ask(setting, "api.other")) == ["api.other. 10.96.0.3"]
    assert setting.cluster.asked["other.svc.cluster.local", 1] == 2


async def test_known_namespace_is_not_asked_for_again():
    setting = Setting()
    async with setting.resolver:
        await ask(setting, "api.other")
        setting.cluster.asked.clear()

        await ask(setting, "api.other")

        assert setting.cluster.names == ["api.other.svc.cluster.local"]


async def test_equal_questions_at_once_are_asked_once():
    setting = Setting()
    setting.cluster.open.clear()
    queries = [dns.message.make_query("web.default.svc.cluster.local", "A") for _ in range(3)]
    async with setting.resolver as resolver, asyncio.TaskGroup() as group:
        lookups = [group.create_task(resolver.answer(q.to_wire(), False)) for q in queries]
        await setting.cluster.was_asked.wait()
        setting.cluster.open.set()

        for query, lookup in zip(queries, lookups, strict=True):
            reply = dns.message.from_wire(await lookup)
            assert query.is_response(reply)
            assert texts(reply) == ["web.default.svc.cluster.local. 10.96.0.1"]
    assert setting.cluster.asked == {("web.default.svc.cluster.local", 1): 1}


@pytest.mark.parametrize("name", ["web", "dual.dev"])
async def test_name_that_may_be_the_clusters_is_not_told_upstream(name):
    setting = Setting()
    async with setting.resolver:
        assert len(texts(await ask(setting, name))) == 1
        assert setting.upstream.names == []


async def test_upstream_is_asked_at_once_for_names_that_were_not_the_clusters():
    setting = Setting()
    async with setting.resolver:
        await denied_long_ago(setting, "example.com")
        setting.cluster.open.clear()
        lookup = asyncio.create_task(ask(setting, "example.com"))
        await setting.upstream.was_asked.wait()
        await setting.cluster.was_asked.wait()
        assert not lookup.done()
        setting.cluster.open.set()

        assert texts(await lookup) == ["example.com. 192.0.2.1"]
        assert setting.upstream.by_tcp == [False, False]


async def test_cluster_goes_before_an_answer_that_upstream_gave_sooner():
    setting = Setting()
    setting.upstream.add(Name.of("dual.dev"), "A", "192.0.2.66")
    async with setting.resolver:
        await denied_long_ago(setting, "dual.dev")
        setting.cluster.open.clear()
        lookup = asyncio.create_task(ask(setting, "dual.dev"))
        await setting.upstream.was_asked.wait()
        setting.cluster.open.set()

        assert texts(await lookup) == ["dual.dev. 10.96.0.30"]


async def test_answer_of_the_cluster_does_not_wait_for_upstream():
    setting = Setting()
    setting.upstream.open.clear()
    async with setting.resolver:
        assert texts(await ask(setting, "api.other")) == ["api.other. 10.96.0.3"]


async def test_question_to_upstream_ends_when_the_cluster_has_answered():
    ended = asyncio.Event()
    endless = asyncio.Event()

    async def ask_upstream(data, tcp):
        if not endless.is_set():
            return await setting.upstream.ask(data, tcp)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    setting = Setting(ask_upstream=ask_upstream)
    async with setting.resolver:
        await denied_long_ago(setting, "api.other")
        endless.set()
        await ask(setting, "api.other")
        await asyncio.wait_for(ended.wait(), 5)


async def test_name_that_was_the_clusters_is_not_told_upstream_again():
    setting = Setting()
    async with setting.resolver:
        await ask(setting, "web")
        await ask(setting, "api.other")
        setting.upstream.asked.clear()
        setting.clock.now += 3600

        assert texts(await ask(setting, "web")) == ["web. 10.96.0.1"]
        assert texts(await ask(setting, "api.other")) == ["api.other. 10.96.0.3"]
        assert setting.upstream.names == []


async def test_namespace_that_is_gone_lets_its_name_go_upstream():
    setting = Setting()
    setting.upstream.add(Name.of("dual.dev"), "A", "192.0.2.66")
    async with setting.resolver:
        await ask(setting, "dual.dev")
        for name in ("dual.dev.svc.cluster.local", "dev.svc.cluster.local"):
            del setting.cluster.records[Name.of(name)]
        setting.clock.now += 60

        assert texts(await ask(setting, "dual.dev")) == ["dual.dev. 192.0.2.66"]
        setting.cluster.asked.clear()
        assert texts(await ask(setting, "dual.dev")) == ["dual.dev. 192.0.2.66"]
        assert setting.cluster.names == []


async def test_name_that_only_the_cluster_has_is_found_with_the_laptops_suffix():
    setting = Setting(laptop_search=["corp.example"])
    async with setting.resolver:
        for name, address in (("web", "10.96.0.1"), ("api.other", "10.96.0.3")):
            host = f"{name}.corp.example"
            assert texts(await ask(setting, host)) == [f"{host}. {address}"]


async def test_host_of_the_laptops_domain_is_not_taken_for_a_service_of_its_first_label():
    setting = Setting(laptop_search=["corp.example"])
    setting.upstream.add(Name.of("web.corp.example"), "A", "192.0.2.80")
    async with setting.resolver:
        for _ in range(2):
            assert texts(await ask(setting, "web.corp.example")) == ["web.corp.example. 192.0.2.80"]
            assert (await ask(setting, "web.corp.example", "AAAA")).answer == []
            assert texts(await ask(setting, "web")) == ["web. 10.96.0.1"]


async def test_name_with_the_laptops_suffix_does_not_wait_long_for_upstream(monkeypatch):
    monkeypatch.setattr(resolver, "HEED_SECONDS", 0.01)
    setting = Setting(laptop_search=["corp.example"])
    setting.upstream.open.clear()
    async with setting.resolver:
        assert texts(await ask(setting, "web.corp.example")) == ["web.corp.example. 10.96.0.1"]


async def test_name_that_is_nowhere_is_told_so_with_the_laptops_suffix():
    setting = Setting(laptop_search=["corp.example"])
    async with setting.resolver:
        assert (await ask(setting, "nope.corp.example")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("name", ["pod-0.cache.other", "api.other"])
async def test_name_is_found_by_the_search_list_of_a_pod_with_few_ndots(name):
    setting = Setting(conf=POD_RESOLV_CONF.replace("ndots:5", "ndots:1"))
    async with setting.resolver:
        assert texts(await ask(setting, name))
        assert setting.upstream.names == [name]
        setting.upstream.add(Name.of(name), "A", "192.0.2.80")
        assert texts(await ask(setting, name)) == [f"{name}. 192.0.2.80"]


@pytest.mark.parametrize("name", ["printer.local", "localhost", "1.0.168.192.in-addr.arpa", "."])
async def test_names_of_the_machine_never_reach_the_cluster(name):
    setting = Setting()
    async with setting.resolver:
        await ask(setting, name)

        assert setting.cluster.names == []
        assert len(setting.upstream.names) == 1


async def test_reverse_lookup_of_a_cluster_address_is_the_clusters():
    setting = Setting()
    setting.cluster.add(Name.of("1.0.96.10.in-addr.arpa"), "PTR", "web.default.svc.cluster.local.")
    async with setting.resolver:
        reply = await ask(setting, "1.0.96.10.in-addr.arpa", "PTR")

        assert texts(reply) == ["1.0.96.10.in-addr.arpa. web.default.svc.cluster.local."]
        assert (await ask(setting, "9.0.96.10.in-addr.arpa", "PTR")).rcode() == dns.rcode.NXDOMAIN
        assert setting.upstream.names == []


async def test_addresses_of_the_cluster_are_announced_before_the_answer():
    allowed = asyncio.Event()
    told = asyncio.Event()

    async def on_answer(addresses):
        told.set()
        await allowed.wait()

    setting = Setting(on_answer=on_answer)
    async with setting.resolver:
        lookup = asyncio.create_task(ask(setting, "db"))
        await told.wait()
        assert not lookup.done()
        allowed.set()
        assert len(texts(await lookup)) == 2
