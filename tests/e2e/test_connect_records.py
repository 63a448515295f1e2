"""Names on the laptop as in a pod: the same questions asked in both, compared record by record.

And the same lookups by programs on glibc, on musl, and with Go's own resolver.
"""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from lab import musl, programs
from tests.e2e import asking, naming
from tests.e2e.naming import DOMAIN, NAMESPACE
from tests.e2e.tow import connected
from tests.e2e.waiting import until

# How long the cluster's server gives the same answer again, its TTL counting down.
KEPT_SECONDS = 5
# By what it is asked, and what the client says of itself.
WAYS = {
    "udp": ("udp", {}),
    "udp-1232": ("udp", {"use_edns": 0, "payload": 1232}),
    "udp-4096-do": ("udp", {"use_edns": 0, "payload": 4096, "want_dnssec": True}),
    "tcp": ("tcp", {}),
}
# Short, qualified, with underscores, large, outside, in the private zone, missing.
HOSTS = [
    *("cluster-dual", "CLUSTER-dual", "cluster-four.names", "cluster-six.names.svc"),
    *("web.default", f"web.other-ns.svc.{DOMAIN}", f"web.team-a.svc.{DOMAIN}."),
    *("few-dual", "first.few-dual", "db-0.db.default", "over-512", "over-4096"),
    *("to-outside", "to-nowhere", "to-cluster", "to-zone", "empty"),
    *("_http._tcp.cluster-dual", f"_http._tcp.cluster-dual.{NAMESPACE}.svc.{DOMAIN}"),
    *("outside.example", "alias.example", "v4only.example", "nosuch.example"),
    *("db.corp.internal", "alias.corp.internal", "nosuch.corp.internal"),
    *("nosuch", "nosuch.names", f"nosuch.{NAMESPACE}.svc.{DOMAIN}", "web.nosuch"),
]
LOOKUPS = [
    *("srv:_http._tcp.cluster-dual", f"srv:_http._tcp.few-dual.{NAMESPACE}.svc.{DOMAIN}"),
    *("srv:_pg._tcp.corp.internal", "mx:corp.internal", "txt:db.corp.internal"),
    *("cname:to-outside", "cname:alias.example", "txt:cluster-dual", "addr:10.96.0.10"),
]
LARGE = {"udp": "over-512", "udp-1232": "over-1232", "udp-4096-do": "over-4096"}


@pytest.fixture(scope="module")
def clients():
    """Commands that look up the hosts that they are given."""
    programs.ensure_built([programs.LOOKUP])
    glibc = (
        "import socket, sys\n"
        "for host in sys.argv[1:]:\n"
        "    try: found = [entry[4][0] for entry in socket.getaddrinfo(host, 80, type=1)]\n"
        "    except socket.gaierror as error: found = [f'error={error.errno}']\n"
        "    print(host, *found)"
    )
    return {
        "glibc": ["/usr/bin/python3", "-c", glibc],
        "musl": [str(musl.program("lookup"))],
        "go": [str(programs.LOOKUP.built)],
    }


@pytest.fixture(scope="module")
def pod(lab, clients):
    with naming.asker(lab) as asker:
        until(lambda: knows_all(asker), 60, "the services to have names")
        yield asker


@pytest.fixture(scope="module", autouse=True)
def session(laptop, pod, no_trace_of_module):
    with connected(laptop, "-n", NAMESPACE, "--domain=corp.internal") as running:
        yield running


def knows_all(asker):
    """Whether the cluster's server knows the last of the services, and all of the largest."""
    last, largest = (f"{name}.{NAMESPACE}.svc.{DOMAIN}" for name in ("to-zone", "over-4096"))
    asked = [query(last, "A", "tcp"), query(largest, "A", "tcp"), query(largest, "AAAA", "tcp")]
    replies = [message(said) for said in asker.ask("\n".join(map(line, asked)))]
    counts = [len(records(reply.answer)) for reply in replies]
    return counts[0] > 0 and counts[1:] == [260, 10]


def query(name, kind, way):
    transport, options = WAYS[way]
    return transport, dns.message.make_query(name, dns.rdatatype.from_text(kind), **options)


def line(asked):
    transport, made = asked
    return f"{transport} {made.to_wire().hex()}"


def message(said):
    return None if said == "-" else dns.message.from_wire(bytes.fromhex(said))


def records(section):
    """The records of a section without their TTLs; a SOA's serial is the server's time."""
    found = set()
    for rrset in section:
        for rdata in rrset:
            if rrset.rdtype == dns.rdatatype.SOA:
                rdata = rdata.replace(serial=0)  # noqa: PLW2901
            kind = dns.rdatatype.to_text(rrset.rdtype)
            found.add((rrset.name.to_text(), kind, rdata.to_text()))
    return found


def sections(reply):
    return (reply.answer, reply.authority, reply.additional)


def head(reply):
    """All but the records, and whether some are missing."""
    flags = dns.flags.to_text(reply.flags & ~dns.flags.TC)
    options = [each.to_text() for each in reply.options]
    return (reply.rcode(), flags, reply.edns, reply.payload, reply.ednsflags, options)


def is_same(ours, theirs, whole):
    """Whether a reply here is that of a pod, and, when that is cut off, a part of the whole.

    Nothing is cut off when just additional records are missing (RFC 2181 section 9), which the
    cluster's own server sees otherwise.
    """
    here, all_there = (list(map(records, sections(reply))) for reply in (ours, whole))
    if head(ours) != head(theirs):
        return False
    if ours.flags & dns.flags.TC:
        return bool(theirs.flags & dns.flags.TC) and len(here[0]) > 0 and here[0] < all_there[0]
    if theirs.flags & dns.flags.TC:
        return here[:2] == all_there[:2]
    return here == list(map(records, sections(theirs)))


def is_kept(ours, theirs, name):
    """Whether TTLs are the zone's, as far as the cluster's own server does not count them down."""
    tolerated = 0 if name.endswith("corp.internal") else KEPT_SECONDS
    here, there = ({(r.name, r.rdtype): r.ttl for r in m.answer} for m in (ours, theirs))
    return all(abs(ttl - there[key]) <= tolerated for key, ttl in here.items() if key in there)


def ask_here(laptop, lines):
    path = laptop.input("questions", lines)
    done = laptop.run("sh", "-c", f"/usr/bin/python3 {asking.__file__} < {path}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("way", WAYS)
def test_answers_are_those_that_a_pod_gets(lab, laptop, pod, way):
    asked = list(naming.questions(lab))
    lines = "\n".join(line(query(*question, way)) for question in asked)
    there = pod.ask(lines)
    whole = there if way == "tcp" else pod.ask(lines.replace("udp", "tcp"))
    here = ask_here(laptop, lines)
    assert len(here) == len(there) == len(whole) == len(asked)
    wrong = [
        (name, kind, ours.to_text(), theirs.to_text())
        for (name, kind), *said in zip(asked, here, there, whole, strict=True)
        for ours, theirs, all_there in [map(message, said)]
        if not is_same(ours, theirs, all_there) or not is_kept(ours, theirs, name)
    ]
    assert wrong == []


@pytest.mark.parametrize("way", LARGE)
def test_answer_over_what_the_client_takes_is_cut_off(laptop, way):
    name = f"{LARGE[way]}.{NAMESPACE}.svc.{DOMAIN}"
    (said,) = ask_here(laptop, line(query(name, "A", way)))
    assert message(said).flags & dns.flags.TC
    assert len(said) // 2 <= (WAYS[way][1].get("payload") or 512)


@pytest.mark.parametrize("client", ["glibc", "musl", "go"])
def test_programs_find_what_they_find_in_a_pod(laptop, pod, clients, client):
    words = HOSTS if client != "go" else [*(f"host:{host}" for host in HOSTS), *LOOKUPS]
    command = [*clients[client], *words]
    there = sorted_words(pod.run(*command))
    done = laptop.run(*command, seconds=120)
    assert sorted_words(done.stdout) == there
    assert there["cluster-dual" if client != "go" else "host:cluster-dual"]


def sorted_words(text):
    return {words[0]: sorted(words[1:]) for words in map(str.split, text.splitlines())}
