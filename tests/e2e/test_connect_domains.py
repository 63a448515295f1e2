"""Domains that a user leads into the cluster or keeps out of it, and answers that are kept."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest

from lab import network
from tests.e2e import behind, objects
from tests.e2e.tow import connected

DATABASE = ("10.77.0.5", "fd00:77::5")


@pytest.fixture(scope="module")
def database(lab):
    with ExitStack() as stack:
        for address in DATABASE:
            stack.enter_context(behind.serving(lab, address))
        yield


@pytest.fixture(scope="module", autouse=True)
def session(laptop, database, no_trace_of_module):
    options = ("--domain=corp.internal", "--exclude-domain=vpn.corp.internal,outside.example")
    with connected(laptop, "-n", "default", *options, "--dns-cache=60") as running:
        yield running


def ask(laptop, name, kind="A"):
    query = dns.message.make_query(name, kind)
    return laptop.call(lambda: dns.query.udp(query, network.DNS_V4, timeout=5))


def texts(message):
    return sorted(record.to_text() for rrset in message.answer for record in rrset)


def told_outside(lab, since):
    queries = lab.dns_queries()[since:]
    return {query["name"] for query in queries if query["client"] == network.LAPTOP_V4}


def counts(laptop):
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    return status["dns"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_database_behind_a_private_zone_is_reached_by_its_name(laptop, family):
    program = (
        "import socket, sys\n"
        "where = socket.getaddrinfo('db.corp.internal', 5432, int(sys.argv[1]), 1)[0][4]\n"
        "with socket.create_connection(where[:2], 15) as made: print(made.makefile().read())"
    )
    done = laptop.run("/usr/bin/python3", "-c", program, str(int(family)))
    assert done.stdout.strip() == behind.HELLO.decode().strip(), done.stderr


def test_names_of_the_zone_are_told_to_the_cluster_alone(lab, laptop):
    since = len(lab.dns_queries())
    assert texts(ask(laptop, "alias.corp.internal")) == [DATABASE[0], "db.corp.internal."]
    assert ask(laptop, "nosuch.corp.internal").rcode() == dns.rcode.NXDOMAIN
    assert told_outside(lab, since) == set()


def test_excluded_names_are_told_to_the_own_nameserver_alone(lab, laptop):
    since = len(lab.dns_queries())
    asked = counts(laptop)["cluster"]
    assert ask(laptop, "gate.vpn.corp.internal").rcode() == dns.rcode.NXDOMAIN
    assert texts(ask(laptop, "outside.example")) == ["198.51.100.7"]
    assert told_outside(lab, since) == {"gate.vpn.corp.internal", "outside.example"}
    assert counts(laptop)["cluster"] == asked


def test_reverse_name_of_an_address_that_leads_to_the_cluster_is_asked_there(lab, laptop):
    ask(laptop, "db.corp.internal")
    since = len(lab.dns_queries())
    ask(laptop, dns.reversename.from_address(DATABASE[0]), "PTR")
    assert told_outside(lab, since) == set()


def test_answer_that_is_kept_is_not_asked_for_again(laptop):
    first = ask(laptop, "db.corp.internal", "TXT")
    before = counts(laptop)
    again = ask(laptop, "db.corp.internal", "TXT")
    after = counts(laptop)
    assert texts(again) == texts(first)
    assert again.answer[0].ttl <= first.answer[0].ttl
    assert (after["cluster"], after["cached"]) == (before["cluster"], before["cached"] + 1)


def test_what_is_kept_is_forgotten_when_the_agent_is_replaced(lab, laptop, session):
    ask(laptop, "db.corp.internal", "TXT")
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    told = len(session.events)
    lab.kubectl("delete", "pod", status["agent"], "-n", "default", "--now")
    session.event("reconnected", after=told)
    before = counts(laptop)
    ask(laptop, "db.corp.internal", "TXT")
    after = counts(laptop)
    assert (after["cluster"], after["cached"]) == (before["cluster"] + 1, before["cached"])


def test_cluster_answers_under_the_domain_that_it_is_said_to_have(lab, laptop):
    """It has two, and tells its pods of the other."""
    address = objects.addresses_of_service(lab, "web")[0]
    with connected(laptop, "-n", "team-a", "--cluster-domain", "k8s.corp"):
        assert texts(ask(laptop, "web.default.svc.k8s.corp")) == [address]
        denial = ask(laptop, "nosuch.svc.k8s.corp")
        assert denial.rcode() == dns.rcode.NXDOMAIN
        assert denial.authority[0].name.to_text() == "k8s.corp."
