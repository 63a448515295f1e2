"""What stands in the way of names and routes is said, and only that."""

from ipaddress import ip_network

import pytest

from towline.cluster.ranges import Answer, Kind, Source
from towline.dns.resolvconf import parse
from towline.features import findings
from towline.features.findings import Verdict
from towline.redirect.conflicts import Route, find

NET = ip_network("10.96.0.0/16")
SERVICES = Kind.SERVICES


def of_names(tmp_path, conf="nameserver 192.0.2.1", hosts="files dns", resolved=True):
    (tmp_path / "nsswitch.conf").write_text(f"passwd: files\nhosts: {hosts}\n")
    socket = tmp_path / "socket"
    if resolved:
        socket.touch()
    return findings.of_names(
        parse(conf), nsswitch=tmp_path / "nsswitch.conf", resolved_socket=socket
    )


@pytest.mark.parametrize(
    ("hosts", "resolved", "verdict"),
    [
        ("files dns", True, Verdict.OK),
        ("files mymachines resolve [!UNAVAIL=return] dns", True, Verdict.PROBLEM),
        ("files mymachines resolve [!UNAVAIL=return] dns", False, Verdict.OK),
        ("files resolve", True, Verdict.PROBLEM),
        ("files dns resolve", True, Verdict.OK),
    ],
)
def test_resolve_before_dns_is_a_problem_where_systemd_resolved_runs(
    tmp_path, hosts, resolved, verdict
):
    finding = of_names(tmp_path, hosts=hosts, resolved=resolved)
    assert finding.verdict is verdict
    assert bool(finding.hint) == (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("servers", "options", "verdict"),
    [
        (["fe80::1%eth0"], "", Verdict.PROBLEM),
        (["fe80::1%eth0", "192.0.2.1"], "", Verdict.PROBLEM),
        (["192.0.2.1", "fe80::1%eth0"], "", Verdict.OK),
        (["192.0.2.1", "fe80::1%eth0"], "options rotate", Verdict.PROBLEM),
    ],
)
def test_link_local_nameserver_is_a_problem_where_it_is_asked_first(
    tmp_path, servers, options, verdict
):
    conf = "\n".join([*(f"nameserver {each}" for each in servers), options])
    assert of_names(tmp_path, conf).verdict is verdict


def test_nsswitch_that_is_not_there_says_nothing(tmp_path):
    conf = parse("nameserver 192.0.2.1")
    assert findings.of_names(conf, nsswitch=tmp_path / "none").verdict is Verdict.OK


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
