"""Fuzz the DNS codec: whatever bytes come, parsing gives a message or DnsError; what it gives is
written and read back as the same, and fits the size that it is cut to.

    python -m tests.fuzz.fuzz_dns [SECONDS [SEED]]

`target` is for coverage-guided fuzzers too.
"""

import random
import sys
import time
from dataclasses import replace

import dns.message
import dns.rrset

from towline.wire.dns import DnsError, Message, Type

SECTIONS = [
    ("A", ["10.0.0.1", "10.0.0.2"]),
    ("AAAA", ["fd00::1"]),
    ("CNAME", ["web.default.svc.cluster.local."]),
    ("MX", ["10 mail.example.com.", "20 example.com."]),
    ("SRV", ["0 100 80 web.default.svc.cluster.local."]),
    ("SOA", ["ns.cluster.local. admin.cluster.local. 1 7200 1800 86400 5"]),
    ("NAPTR", ['1 2 "S" "SIP+D2U" "" _sip._udp.example.com.']),
    ("TXT", ['"hello" "world"']),
    ("RP", ["a.example.com. b.example.com."]),
    ("TYPE65280", ["\\# 4 c00c0000"]),
]
OWNERS = ["web.default.svc.cluster.local.", "example.com.", "_http._tcp.web.", "."]


def seed_message(rng):
    """Return a well-formed message as dnspython writes it, with compressed names."""
    query = dns.message.make_query(rng.choice(OWNERS), rng.choice(["A", "SRV", "ANY"]))
    query.use_edns(rng.choice([None, 0]), payload=rng.choice([512, 4096]))
    response = dns.message.make_response(query)
    for section in (response.answer, response.authority, response.additional):
        for rtype, values in rng.sample(SECTIONS, rng.randrange(4)):
            section.append(dns.rrset.from_text(rng.choice(OWNERS), 5, "IN", rtype, *values))
    return response.to_wire(max_size=65535)


def damage(rng, data):
    """Return the message with some bytes changed, doubled, taken out or cut off."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 2] = (0xC000 | rng.randrange(len(data) + 8)).to_bytes(2, "big")
            case 2:
                data[at:at] = data[at : at + rng.randrange(40)]
            case 3:
                del data[at : at + rng.randrange(8)]
            case 4:
                del data[at:]
    return bytes(data)


def target(data):
    """One input: a message or something like it."""
    try:
        message = Message.parse(data)
        written = message.encode()
    except DnsError:
        return
    again = Message.parse(written)
    assert (again.id, again.flags, again.questions) == (
        message.id,
        message.flags,
        message.questions,
    )
    assert (again.answers, again.authorities) == (message.answers, message.authorities)
    assert again.edns == message.edns
    opt = tuple(record for record in message.additionals if record.rtype == Type.OPT)
    bare = replace(message, answers=(), authorities=(), additionals=opt)
    cut = message.encode(512)
    assert len(cut) <= max(512, len(bare.encode()))
    Message.parse(cut)


def main(seconds=30.0, seed=None):
    """Run `target` on damaged messages for so long."""
    seed = time.time_ns() if seed is None else seed
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = damage(rng, seed_message(rng))
        count += 1
        try:
            target(data)
        except BaseException:
            print(f"seed {seed}, input {count}: {data.hex()}")
            raise
    print(f"{count} inputs, nothing found (seed {seed})")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
