"""Names and addresses of the cluster, as programs of the laptop see them."""

from __future__ import annotations

import json
import socket
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest

from lab import network
from tests.e2e import objects
from tests.e2e.tow import connected

FAMILIES = pytest.mark.parametrize("family", [4, 6])
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])

# A resolver that gets no answer asks again after 5 s: what takes less has been answered.
AT_ONCE_SECONDS = 3.0

OUTSIDE = [
    ("outside.example", "A"),
    ("outside.example", "AAAA"),
    ("v4only.example", "AAAA"),
    ("alias.example", "A"),
    ("long.example", "TXT"),
    ("nosuch.example", "A"),
]


@pytest.fixture(scope="module")
def single_stack(lab):
    """A service that has no IPv6 address."""
    spec = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
    with objects.serving(lab, objects.service("v4only", "default", "web", **spec)):
        yield


@pytest.fixture(scope="module")
def before(laptop):
    """What the laptop's own nameserver answers when there is no session."""
    return {
        (question, transport): body(ask(laptop, *question, transport))
        for question in OUTSIDE
        for transport in ("udp", "tcp")
    }


@pytest.fixture(scope="module", autouse=True)
def session(laptop, single_stack, before, no_trace_of_module):
    with connected(laptop, "-n", "default") as running:
        yield running


def ask(laptop, name, kind, transport="udp"):
    """Ask the laptop's nameserver, as a resolver of its own would."""
    query = dns.message.make_query(name, kind)
    send = {"udp": dns.query.udp, "tcp": dns.query.tcp}[transport]
    return laptop.call(lambda: send(query, network.DNS_V4, timeout=AT_ONCE_SECONDS))


def body(message):
    """All of a message but its id; this nameserver gives a name's records in any order."""
    return sorted(message.to_text().splitlines()[1:])


def texts(message, kind):
    return sorted(
        record.to_text()
        for rrset in message.answer
        if rrset.rdtype == dns.rdatatype.from_text(kind)
        for record in rrset
    )


def curl(laptop, family, url, *options):
    done = laptop.run("curl", "-sS", f"-{family}", "--max-time", "15", *options, url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def getent(laptop, *arguments):
    """The addresses that the system's own resolver gives."""
    done = laptop.run("getent", *arguments)
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def lookup_error(laptop, host, family=socket.AF_UNSPEC):
    """The number of the error that getaddrinfo() gives, and how many seconds it took."""
    program = (
        "import socket, sys, time\n"
        "began = time.monotonic()\n"
        "try: print(socket.getaddrinfo(sys.argv[1], 80, int(sys.argv[2])))\n"
        "except socket.gaierror as error: print(error.errno, time.monotonic() - began)"
    )
    done = laptop.run("/usr/bin/python3", "-c", program, host, str(int(family)))
    number, seconds = done.stdout.split()
    return int(number), float(seconds)


@FAMILIES
@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web", "web"),
        ("WEB", "web"),
        ("web.default", "web"),
        ("web.other-ns", "other-web"),
        ("web.other-ns.svc", "other-web"),
        ("web.other-ns.svc.cluster.local", "other-web"),
        ("web.team-a.svc.cluster.local.", "team-web"),
    ],
)
def test_service_answers_to_each_form_of_its_name(laptop, family, host, name):
    answer = curl(laptop, family, f"http://{host}/some/path?x=1")
    assert (answer["name"], answer["path"]) == (name, "/some/path?x=1")
    assert (":" in answer["client"]) == (family == 6)


@FAMILIES
@pytest.mark.parametrize(
    "host", ["db-0.db", "db-1.db.default", "db-1.db.default.svc.cluster.local"]
)
def test_headless_services_pod_answers_to_its_name(laptop, family, host):
    assert curl(laptop, family, f"http://{host}:8080")["pod"] == host.partition(".")[0]


@FAMILIES
def test_cluster_ip_answers(lab, laptop, family):
    address = objects.addresses_of_service(lab, "web")[family == 6]
    host = f"[{address}]" if family == 6 else address
    assert curl(laptop, family, f"http://{host}")["name"] == "web"


@FAMILIES
def test_pod_ip_answers(lab, laptop, family):
    address = objects.addresses_of_pod(lab, "db-1")[family == 6]
    host = f"[{address}]" if family == 6 else address
    assert curl(laptop, family, f"http://{host}:8080")["pod"] == "db-1"


def test_request_arrives_as_it_was_sent(laptop):
    headers = ("-H", "X-Test: one", "--data-binary", "x" * 100_000)
    answer = curl(laptop, 4, "http://web.other-ns/", *headers)
    assert answer["method"] == "POST"
    assert answer["body_bytes"] == 100_000
    assert answer["headers"]["host"] == "web.other-ns"
    assert answer["headers"]["x-test"] == "one"


def test_resolver_gives_the_addresses_of_the_service(lab, laptop):
    four, six = objects.addresses_of_service(lab, "web")
    assert getent(laptop, "ahostsv4", "web") == [four]
    assert getent(laptop, "ahostsv6", "web") == [six]
    assert getent(laptop, "ahosts", "web") == sorted([four, six])


def test_resolver_gives_all_pods_of_a_headless_service(lab, laptop):
    pods = [objects.addresses_of_pod(lab, f"db-{n}") for n in range(2)]
    assert getent(laptop, "ahostsv4", "db") == sorted(pod[0] for pod in pods)
    assert getent(laptop, "ahostsv6", "db") == sorted(pod[1] for pod in pods)


def test_resolver_gives_the_name_of_an_address(lab, laptop):
    for address in objects.addresses_of_service(lab, "web"):
        done = laptop.run("getent", "hosts", address)
        assert done.stdout.split() == [address, "web.default.svc.cluster.local"]


@pytest.mark.parametrize(
    "host",
    ["nosuch", "nosuch.default", "nosuch.svc", "web.nosuch", "nosuch.default.svc.cluster.local"],
)
def test_unknown_name_is_unknown_at_once(laptop, host):
    number, seconds = lookup_error(laptop, host)
    # Not EAI_AGAIN: the name does not exist, and trying again is no use.
    assert (number, seconds < AT_ONCE_SECONDS) == (socket.EAI_NONAME, True)


@TRANSPORTS
def test_unknown_name_is_nxdomain(laptop, transport):
    for name in ("nosuch", "nosuch.default.svc.cluster.local", "web.nosuch.svc"):
        for kind in ("A", "AAAA", "SRV"):
            answer = ask(laptop, name, kind, transport)
            assert dns.rcode.to_text(answer.rcode()) == "NXDOMAIN", (name, kind)
            assert not answer.answer


@TRANSPORTS
def test_name_without_an_ipv6_address_has_no_data_for_it(lab, laptop, transport):
    (four,) = objects.addresses_of_service(lab, "v4only")
    for name in ("v4only", "v4only.default", "v4only.default.svc.cluster.local"):
        assert texts(ask(laptop, name, "A", transport), "A") == [four]
        answer = ask(laptop, name, "AAAA", transport)
        assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


def test_name_without_an_ipv6_address_works_in_programs(laptop):
    began = time.monotonic()
    assert curl(laptop, 4, "http://v4only")["name"] == "web"
    assert time.monotonic() - began < AT_ONCE_SECONDS
    number, seconds = lookup_error(laptop, "v4only", socket.AF_INET6)
    assert (number, seconds < AT_ONCE_SECONDS) == (socket.EAI_NODATA, True)


@TRANSPORTS
def test_srv_record_names_the_port(laptop, transport):
    answer = ask(laptop, "_http._tcp.web.default.svc.cluster.local", "SRV", transport)
    # Priority, weight, port, target: CoreDNS divides the weight among the target's addresses.
    assert texts(answer, "SRV") == ["0 50 80 web.default.svc.cluster.local."]


@TRANSPORTS
def test_ptr_record_names_the_service(lab, laptop, transport):
    for address in objects.addresses_of_service(lab, "web", "other-ns"):
        answer = ask(laptop, dns.reversename.from_address(address), "PTR", transport)
        assert texts(answer, "PTR") == ["web.other-ns.svc.cluster.local."]


def test_external_name_leads_outside(laptop):
    assert texts(ask(laptop, "outside.default.svc.cluster.local", "A"), "A") == ["198.51.100.7"]
    assert getent(laptop, "ahostsv4", "outside") == ["198.51.100.7"]


def test_answer_that_exceeds_a_datagram_comes_by_tcp(laptop):
    assert ask(laptop, "long.example", "TXT").flags & dns.flags.TC
    assert len(texts(ask(laptop, "long.example", "TXT", "tcp"), "TXT")) == 8


@TRANSPORTS
@pytest.mark.parametrize("question", OUTSIDE, ids=lambda question: "-".join(question))
def test_name_outside_is_answered_by_the_own_nameserver_as_before(
    lab, laptop, before, question, transport
):
    seen = len(lab.dns_queries())
    assert body(ask(laptop, *question, transport)) == before[question, transport]
    (query,) = lab.dns_queries()[seen:]
    assert query["client"] == network.LAPTOP_V4
    assert (query["name"], query["type"], query["transport"]) == (*question, transport)


def test_name_outside_works_in_programs(laptop):
    assert getent(laptop, "ahostsv4", "alias.example") == ["198.51.100.7"]
    assert getent(laptop, "ahostsv6", "outside.example") == ["2001:db8::7"]
    assert getent(laptop, "ahosts", "nosuch.example") == []


def test_names_of_the_cluster_are_not_told_to_the_own_nameserver(lab, laptop):
    seen = len(lab.dns_queries())
    for host in ("web", "web.other-ns", "web.other-ns.svc", "db-0.db", "nosuch.svc.cluster.local"):
        getent(laptop, "ahosts", host)
    told = {q["name"] for q in lab.dns_queries()[seen:] if q["client"] == network.LAPTOP_V4}
    assert told == set()
