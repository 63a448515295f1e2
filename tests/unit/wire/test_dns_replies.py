"""What a resolver says by itself, as dnspython understands it."""

import dns.flags
import dns.message
import dns.rcode
import pytest

from towline.wire.dns import (
    RD,
    Edns,
    Message,
    Name,
    Question,
    Rcode,
    Record,
    Type,
    formerr,
    negative_ttl,
    nodata,
    nxdomain,
    query,
    refused,
    reply,
    servfail,
)

SOA = Record(
    Name.of("cluster.local"),
    Type.SOA,
    1,
    30,
    b"\2ns\0\5admin\0" + b"".join(n.to_bytes(4, "big") for n in (1, 7200, 1800, 86400, 5)),
)


@pytest.mark.parametrize(
    ("build", "rcode"),
    [
        (nxdomain, dns.rcode.NXDOMAIN),
        (nodata, dns.rcode.NOERROR),
        (servfail, dns.rcode.SERVFAIL),
        (refused, dns.rcode.REFUSED),
        (lambda asked: reply(asked, Rcode.BADVERS), dns.rcode.BADVERS),
    ],
)
def test_reply_is_one_to_the_query(build, rcode):
    asked = dns.message.make_query("Web.Default.", "AAAA", use_edns=0, want_dnssec=True)

    answer = dns.message.from_wire(build(Message.parse(asked.to_wire())).encode())

    assert asked.is_response(answer)
    assert answer.rcode() == rcode
    assert answer.flags & dns.flags.RA
    assert answer.flags & dns.flags.RD
    assert answer.ednsflags & dns.flags.DO
    assert str(answer.question[0].name) == "Web.Default."


def test_reply_has_no_edns_if_the_query_had_none():
    asked = dns.message.make_query("web.", "A", use_edns=False)

    answer = dns.message.from_wire(servfail(Message.parse(asked.to_wire())).encode())

    assert answer.edns == -1


@pytest.mark.parametrize("build", [nxdomain, nodata])
def test_denial_carries_the_soa_that_says_how_long_it_holds(build):
    denial = build(query(Name.of("x.cluster.local"), Type.A), SOA)

    assert dns.message.from_wire(denial.encode()).authority[0].ttl == 30
    assert negative_ttl(denial) == 5


def test_denial_without_a_usable_soa_says_nothing_of_time():
    asked = query(Name.of("x"), Type.A)
    broken = Record(SOA.name, Type.SOA, 1, 30, b"\0\0\0")

    assert negative_ttl(nxdomain(asked)) is None
    assert negative_ttl(nxdomain(asked, broken)) is None


def test_query_is_recursive_and_offers_edns():
    asked = query(Name.of("web"), Type.SRV, ident=77)

    assert asked == Message(
        77, RD, (Question(Name.of("web"), Type.SRV),), additionals=(Edns(1232).record(),)
    )
    assert query(Name.of("web"), Type.A, udp_size=None).edns is None


def test_queries_have_ids_that_differ():
    assert len({query(Name(), Type.A).id for _ in range(64)}) > 1


def test_malformed_query_is_told_so_and_a_response_is_not():
    asked = dns.message.make_query("web.", "A").to_wire()
    answer = formerr(asked[:-3])

    assert answer is not None
    assert dns.message.from_wire(answer.encode()).rcode() == dns.rcode.FORMERR
    assert answer.id == int.from_bytes(asked[:2], "big")
    assert formerr(asked[:2] + b"\x80" + asked[3:]) is None
    assert formerr(asked[:11]) is None
