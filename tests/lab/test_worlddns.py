"""The world's DNS server's answers, without a network."""

from __future__ import annotations

import io
import json

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from lab.worlddns import World, respond, truncated


def answered(name: str, kind: str):
    return respond(dns.message.make_query(name, kind))


def data(response) -> list[str]:
    return [item.to_text() for rrset in response.answer for item in rrset]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("outside.example", "A", ["198.51.100.7"]),
        ("OUTSIDE.example", "AAAA", ["2001:db8::7"]),
        ("alias.example", "A", ["outside.example.", "198.51.100.7"]),
    ],
)
def test_known_name_is_answered(name, kind, expected):
    response = answered(name, kind)
    assert response.rcode() == dns.rcode.NOERROR
    assert data(response) == expected


def test_absent_type_is_no_data():
    response = answered("v4only.example", "AAAA")
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])


def test_unknown_name_is_nxdomain():
    assert answered("nothing.example", "A").rcode() == dns.rcode.NXDOMAIN


def test_long_answer_is_truncated_for_udp_only():
    response = answered("long.example", "TXT")
    assert len(response.to_wire()) > 512
    short = dns.message.from_wire(truncated(response, 512))
    assert short.flags & dns.flags.TC
    assert short.answer == []


async def test_queries_are_noted_and_garbage_is_not():
    log = io.StringIO()
    world = World(log)
    query = dns.message.make_query("nothing.example", "MX").to_wire()
    assert await world.answer(query, "10.99.0.1", "udp") is not None
    assert await world.answer(b"garbage", "10.99.0.1", "udp") is None
    (line,) = log.getvalue().splitlines()
    noted = json.loads(line)
    assert noted.pop("time") > 0
    assert noted == {
        "client": "10.99.0.1",
        "transport": "udp",
        "name": "nothing.example",
        "type": "MX",
    }
