"""What stands in the way of names and routes is said, and only that."""

import socket
from ipaddress import ip_network

import pytest

from towline.cluster.ranges import Answer, Kind, Source
from towline.dns.resolvconf import parse
from towline.features import findings
from towline.features.findings import Verdict
from towline.redirect.conflicts import Route, find

NET = ip_network("10.96.0.0/16")
SERVICES = Kind.SERVICES


@pytest.mark.parametrize(
    ("hosts", "server", "runs", "asked"),
    [
        ("files dns", "192.0.2.1", True, False),
        ("files mymachines resolve [!UNAVAIL=return] dns", "192.0.2.1", True, True),
        ("files mymachines resolve [!UNAVAIL=return] dns", "192.0.2.1", False, False),
        ("files resolve", "192.0.2.1", True, True),
        ("files dns resolve", "192.0.2.1", True, False),
        ("files dns", "127.0.0.53", True, True),
        ("files dns", "127.0.0.53", False, False),
        (None, "127.0.0.53", True, True),
        (None, "192.0.2.1", True, False),
    ],
)
def test_systemd_resolved_is_asked_by_its_own_ways_or_as_a_nameserver(
    tmp_path, hosts, server, runs, asked
):
    nsswitch, path = tmp_path / "nsswitch.conf", tmp_path / "socket"
    if hosts:
        nsswitch.write_text(f"passwd: files\nhosts: {hosts}\n")
    conf = parse(f"nameserver {server}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        if runs:
            listening.listen()
        assert findings.asks_resolved(conf, nsswitch=nsswitch, resolved_socket=path) is asked


def test_systemd_resolved_is_fine_unless_it_guards_what_it_asks():
    assert findings.of_resolved([]).verdict is Verdict.OK
    guarded = findings.of_resolved(["DNSSEC", "DNS over TLS"])
    assert guarded.verdict is Verdict.WARNING
    assert "DNSSEC and DNS over TLS" in guarded.what
    assert guarded.hint


def test_systemd_resolved_that_takes_nothing_is_a_problem_with_its_reason():
    finding = findings.of_unwilling_resolved("resolvectl dns: Access denied.")
    assert finding.verdict is Verdict.PROBLEM
    assert "Access denied: " in finding.what
    assert finding.hint


@pytest.mark.parametrize(
    ("servers", "options", "verdict"),
    [
        (["fe80::1%eth0"], "", Verdict.PROBLEM),
        (["fe80::1%eth0", "192.0.2.1"], "", Verdict.PROBLEM),
        (["192.0.2.1", "fe80::1%eth0"], "", Verdict.OK),
        (["192.0.2.1", "fe80::1%eth0"], "options rotate", Verdict.PROBLEM),
    ],
)
def test_link_local_nameserver_is_a_problem_where_it_is_asked_first(servers, options, verdict):
    conf = "\n".join([*(f"nameserver {each}" for each in servers), options])
    assert findings.of_names(parse(conf)).verdict is verdict


def test_routes_in_the_way_are_named():
    assert findings.of_routes([NET], []).verdict is Verdict.OK
    clashes = find([NET], [Route(ip_network(f"10.96.{n}.0/24"), "wg0") for n in range(7)])
    finding = findings.of_routes([NET], clashes)
    assert finding.verdict is Verdict.WARNING
    assert "10.96.0.0/24 (wg0)" in finding.what
    assert "and 2 more" in finding.what


def test_ranges_are_told_with_their_source_or_why_they_are_not_known():
    net = frozenset({NET})
    known = findings.of_ranges(SERVICES, [Answer(Source.SERVICE_CIDRS, SERVICES, net)])
    assert (known.verdict, known.hint) == (Verdict.OK, "")
    assert "10.96.0.0/16 (servicecidrs)" in known.what
    why = Answer(Source.SERVICE_CIDRS, SERVICES, why="you may not list servicecidrs")
    seen = Answer(Source.SEEN, SERVICES, frozenset({ip_network("10.96.0.7")}))
    unknown = findings.of_ranges(SERVICES, [why, seen])
    assert unknown.verdict is Verdict.WARNING
    assert "you may not list servicecidrs" in unknown.what
    assert "10.96.0.7/32 (seen)" in unknown.what
    assert "--include" in unknown.hint


def test_of_many_addresses_that_are_taken_over_some_are_told():
    clashes = find([NET], [Route(ip_network("10.96.4.0/24"), "wg0")])
    seen = [ip_network(f"10.96.4.{number}") for number in range(9)]
    told = findings.of_shared(clashes, seen, []).what
    assert "10.96.4.0, 10.96.4.1, 10.96.4.2, 10.96.4.3, 10.96.4.4 and 4 more" in told


def test_ranges_in_a_broader_route_are_told_as_few_for_each_route():
    ranges = [ip_network(f"10.244.{number}.0/24") for number in range(4)]
    routes = [Route(ip_network(text), "wg0") for text in ("10.0.0.0/8", "10.240.0.0/12")]
    finding = findings.of_covered(find(ranges, routes))
    assert finding.what.count("10.244.0.0/22") == 2
    assert "10.0.0.0/8" in finding.what
    assert "10.240.0.0/12" in finding.what
    assert finding.hint.count("--exclude") == 1
