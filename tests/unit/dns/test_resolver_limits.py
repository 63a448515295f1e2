"""The resolver with large answers, with a cluster or upstream that fails, and at its end."""

import asyncio
import logging

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.unit.dns.fakedns import Setting, ask, denied_long_ago, texts
from towline.dns import search
from towline.wire.dns import Message, Name, Rcode, Record, Type, nxdomain, reply


def large(setting, count):
    name = Name.of("many.default.svc.cluster.local")
    for number in range(count):
        setting.cluster.add(name, "A", f"10.244.{number // 250}.{number % 250 + 1}")


@pytest.mark.parametrize(
    ("edns", "count", "most"),
    [(None, 100, 512), (1232, 100, 1232), (4096, 300, 4096), (100, 100, 512)],
)
async def test_answer_too_large_for_the_client_is_truncated_and_whole_by_tcp(edns, count, most):
    setting = Setting()
    large(setting, count)
    options = {} if edns is None else {"use_edns": 0, "payload": edns}
    async with setting.resolver:
        for name in ("many", "many.default.svc.cluster.local"):
            reply = await ask(setting, name, **options)
            assert reply.flags & dns.flags.TC
            assert most - 16 < len(reply.to_wire()) + (11 if edns else 0) <= most + 11
            assert 0 < len(texts(reply)) < count

            reply = await ask(setting, name, tcp=True, **options)
            assert not reply.flags & dns.flags.TC
            assert len(texts(reply)) == count


async def test_answer_is_not_truncated_when_the_client_has_room():
    setting = Setting()
    large(setting, 60)
    async with setting.resolver:
        reply = await ask(setting, "many", use_edns=0, payload=1232)

        assert not reply.flags & dns.flags.TC
        assert len(texts(reply)) == 60


async def test_host_outside_of_one_label_is_believed_while_the_cluster_fails():
    setting = Setting()
    setting.upstream.add(Name.of("printer"), "A", "192.0.2.80")
    setting.cluster.error = ConnectionResetError()
    async with setting.resolver:
        assert texts(await ask(setting, "printer")) == ["printer. 192.0.2.80"]


async def test_service_of_one_label_is_not_taken_from_upstream_while_the_cluster_fails():
    setting = Setting()
    async with setting.resolver:
        await ask(setting, "web")
        setting.upstream.add(Name.of("web"), "A", "192.0.2.80")
        setting.cluster.error = ConnectionResetError()
        assert (await ask(setting, "web")).rcode() == dns.rcode.SERVFAIL


async def test_name_of_one_label_that_is_not_outside_waits_for_the_cluster(monkeypatch):
    monkeypatch.setattr(search, "BRIEF_SECONDS", 0.01)
    setting = Setting(cluster_timeout=60)
    async with setting.resolver:
        setting.cluster.error = ConnectionResetError()
        await ask(setting, "example.com")
        setting.cluster.error = None
        setting.cluster.open.clear()
        setting.upstream.was_asked.clear()
        lookup = asyncio.create_task(ask(setting, "web"))
        await setting.upstream.was_asked.wait()
        await ask(setting, "example.com")
        assert not lookup.done()
        setting.cluster.open.set()

        assert texts(await lookup) == ["web. 10.96.0.1"]


async def test_alias_to_a_name_that_does_not_exist_is_the_clusters_answer():
    async def ask_cluster(data):
        query = Message.parse(data)
        name = query.questions[0].name
        if not name.is_under(Name.of("default.svc.cluster.local")):
            return nxdomain(query).encode()
        alias = Record(name, Type.CNAME, 1, 5, b"\4gone\7example\0")
        return reply(query, Rcode.NXDOMAIN, (alias,)).encode()

    setting = Setting(ask_cluster=ask_cluster)
    async with setting.resolver:
        answer = await ask(setting, "ext")

        assert answer.rcode() == dns.rcode.NXDOMAIN
        assert texts(answer) == ["ext. gone.example."]


async def test_namespace_asked_for_by_its_own_name_is_no_data():
    setting = Setting()
    setting.cluster.add(Name.of("svc.default.svc.cluster.local"), "A", "10.96.0.50")
    async with setting.resolver:
        reply = await ask(setting, "other.svc")

        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


@pytest.mark.parametrize("error", [ConnectionResetError(), RuntimeError("lost"), TimeoutError()])
@pytest.mark.parametrize("name", ["web", "nope", "api.other.svc", "web.default.svc.cluster.local"])
async def test_name_of_a_cluster_that_fails_is_a_failure_not_a_denial(name, error):
    setting = Setting()
    setting.cluster.error = error
    async with setting.resolver:
        assert (await ask(setting, name)).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("name", ["web", "api.other", "api.other.svc.cluster.local"])
async def test_cluster_that_says_nothing_is_a_failure_in_bounded_time(name):
    setting = Setting(cluster_timeout=0.05)
    setting.cluster.open.clear()
    async with setting.resolver:
        assert (await ask(setting, name)).rcode() == dns.rcode.SERVFAIL


async def test_junk_from_the_cluster_is_a_failure():
    async def junk(data):
        return b"junk"

    setting = Setting(ask_cluster=junk)
    async with setting.resolver:
        assert (await ask(setting, "web")).rcode() == dns.rcode.SERVFAIL


async def test_reply_of_the_cluster_to_something_else_is_a_failure():
    async def echo(data):
        return data

    setting = Setting(ask_cluster=echo)
    async with setting.resolver:
        assert (await ask(setting, "web.default.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL


async def test_error_code_of_the_cluster_for_its_own_name_is_passed_on():
    setting = Setting()
    setting.cluster.rcode = Rcode.REFUSED
    async with setting.resolver:
        reply = await ask(setting, "web.default.svc.cluster.local")

        assert reply.rcode() == dns.rcode.REFUSED


async def test_names_outside_work_while_the_cluster_fails():
    setting = Setting()
    setting.cluster.error = ConnectionResetError()
    async with setting.resolver:
        assert texts(await ask(setting, "example.com")) == ["example.com. 192.0.2.1"]
        reply = await ask(setting, "example.com", "AAAA")
        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


async def test_names_outside_wait_only_briefly_for_a_cluster_that_has_fallen_silent(monkeypatch):
    monkeypatch.setattr(search, "BRIEF_SECONDS", 0.01)
    setting = Setting(cluster_timeout=60)
    async with setting.resolver:
        await ask(setting, "dual.dev")
        setting.clock.now += 60
        setting.cluster.error = ConnectionResetError()
        await ask(setting, "example.com")
        setting.cluster.open.clear()

        assert texts(await ask(setting, "example.com")) == ["example.com. 192.0.2.1"]

        lookups = [asyncio.create_task(ask(setting, name)) for name in ("dual.dev", "web")]
        for _ in range(3):
            await ask(setting, "example.com")
        assert not any(lookup.done() for lookup in lookups)
        setting.cluster.error = None
        setting.cluster.open.set()
        assert [texts(await lookup) for lookup in lookups] == [
            ["dual.dev. 10.96.0.30"],
            ["web. 10.96.0.1"],
        ]


async def test_names_outside_wait_for_a_cluster_that_is_merely_slow(monkeypatch):
    monkeypatch.setattr(search, "BRIEF_SECONDS", 0)
    setting = Setting()
    setting.upstream.add(Name.of("dual.dev"), "A", "192.0.2.66")
    async with setting.resolver:
        await denied_long_ago(setting, "dual.dev")
        setting.cluster.open.clear()
        lookup = asyncio.create_task(ask(setting, "dual.dev"))
        await setting.upstream.was_asked.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        setting.cluster.open.set()

        assert texts(await lookup) == ["dual.dev. 10.96.0.30"]


async def test_denial_of_upstream_is_not_believed_while_the_cluster_fails():
    setting = Setting()
    setting.cluster.error = ConnectionResetError()
    async with setting.resolver:
        assert (await ask(setting, "api.other")).rcode() == dns.rcode.SERVFAIL


async def test_name_known_to_be_the_clusters_is_not_taken_from_upstream_while_it_fails():
    setting = Setting()
    setting.upstream.add(Name.of("dual.dev"), "A", "192.0.2.66")
    async with setting.resolver:
        await ask(setting, "dual.dev")
        setting.cluster.error = ConnectionResetError()
        setting.clock.now += 3600

        assert (await ask(setting, "dual.dev")).rcode() == dns.rcode.SERVFAIL


async def test_excluded_host_is_found_while_the_cluster_says_nothing():
    setting = Setting(outside=["api.corp.example"])
    setting.upstream.add(Name.of("api.corp.example"), "A", "192.0.2.5")
    setting.cluster.open.clear()
    async with setting.resolver:
        assert texts(await ask(setting, "api.corp.example")) == ["api.corp.example. 192.0.2.5"]


@pytest.mark.parametrize("name", ["example.com", "printer", "printer.local"])
async def test_upstream_that_fails_is_a_failure(name):
    setting = Setting()
    setting.upstream.error = OSError("unreachable")
    async with setting.resolver:
        assert (await ask(setting, name)).rcode() == dns.rcode.SERVFAIL


async def test_cluster_names_work_while_upstream_fails():
    setting = Setting()
    setting.upstream.error = OSError("unreachable")
    async with setting.resolver:
        assert texts(await ask(setting, "api.other")) == ["api.other. 10.96.0.3"]


async def test_malformed_query_is_a_format_error_and_junk_is_dropped():
    setting = Setting()
    query = dns.message.make_query("web", "A").to_wire()
    async with setting.resolver as resolver:
        refusal = await resolver.answer(query[:-2], False)
        assert dns.message.from_wire(refusal).rcode() == dns.rcode.FORMERR
        for junk in (b"", b"short", query[:2] + b"\x80" + query[3:]):
            assert await resolver.answer(junk, False) is None


async def test_other_operations_than_queries_go_upstream():
    setting = Setting()
    update = bytearray(dns.message.make_query("default.svc.cluster.local", "SOA").to_wire())
    update[2] |= 5 << 3
    async with setting.resolver as resolver:
        await resolver.answer(bytes(update), True)

    assert setting.cluster.names == []
    assert setting.upstream.by_tcp == [True]


async def test_nothing_is_left_when_the_resolver_ends(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    setting = Setting(cluster_timeout=60)
    setting.cluster.open.clear()
    before = asyncio.all_tasks()
    async with setting.resolver as resolver:
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        query = dns.message.make_query("web", "A").to_wire()
        writer.write(len(query).to_bytes(2, "big") + query)
        await setting.cluster.was_asked.wait()
        port = resolver.port

    assert asyncio.all_tasks() == before
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_error_of_the_body_comes_out_as_it_is():
    setting = Setting()
    with pytest.raises(KeyError):
        async with setting.resolver:
            raise KeyError


async def test_cancelling_the_body_ends_the_resolver():
    setting = Setting()
    entered = asyncio.Event()

    async def session():
        async with setting.resolver:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(session())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
