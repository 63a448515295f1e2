"""`tow explain` names the step that fails, whatever it is, on a real cluster and a real machine."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab import settings
from tests.e2e import objects, workloads
from tests.e2e.tow import connected

PROBLEM = 1
NO_SESSION = 8
STEPS = ["session", "name", "lookup", *(["route", "cluster", "dial", "connection"] * 2)]


@pytest.fixture(scope="module", autouse=True)
def session(laptop, no_trace_of_module):
    with connected(laptop) as running:
        yield running


def findings(laptop, destination, *options):
    done = laptop.run(laptop.tow, "explain", destination, "-o", "json", *options)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == int(any(each["verdict"] == "problem" for each in found))
    return found


def problem(laptop, destination):
    """The step that fails, of the last address if there are several: the last one."""
    last = findings(laptop, destination)[-1]
    assert last["verdict"] == "problem"
    assert last["hint"]
    return last["name"], last["what"]


def ipv4(lab, service="web"):
    return next(it for it in objects.addresses_of_service(lab, service) if ":" not in it)


def pod_of(lab, app):
    return workloads.pods_of(lab, app)[0]["metadata"]["name"]


@contextmanager
def meanwhile(laptop, begin, end):
    """A change of the laptop."""
    assert laptop.run("sh", "-ec", begin).returncode == 0
    try:
        yield
    finally:
        laptop.run("sh", "-ec", end)


def test_every_step_to_what_works(laptop):
    found = findings(laptop, "http://web.default/path")
    assert [each["name"] for each in found] == STEPS
    assert {each["verdict"] for each in found} == {"ok"}


def test_text_says_what_to_do(laptop):
    done = laptop.run(laptop.tow, "explain", "nosuch")
    assert done.returncode == PROBLEM
    assert "PROBLEM name: nobody knows nosuch" in done.stdout
    assert "nosuch.default.svc.cluster.local" in done.stdout
    assert "→ Names without a namespace are those of default" in done.stdout


def test_port_that_the_service_does_not_have(laptop):
    name, what = problem(laptop, "web:81")
    assert name == "cluster"
    assert "Service default/web, which has no TCP port 81; it has 80" in what


def test_service_of_which_nothing_is_ready(lab, laptop):
    name, what = problem(laptop, f"{ipv4(lab, 'empty')}:80")
    assert name == "cluster"
    assert "Service default/empty, of which nothing is ready" in what


def test_pod_where_nobody_listens(lab, laptop):
    address = workloads.pods_of(lab, "web")[0]["status"]["podIP"]
    found = findings(laptop, f"{address}:9")
    assert [each["name"] for each in found] == ["session", "route", "cluster", "dial"]
    assert f"{address} is the Pod default/web-" in found[2]["what"]
    assert "refuses" in found[3]["what"]


def test_programs_that_get_another_address(laptop):
    hosts = laptop.input("hosts", "192.0.2.99 web\n")
    other = replace(laptop, covers=((Path("/etc/hosts"), hosts),))
    name, what = problem(other, "web:80")
    assert name == "lookup"
    assert "get 192.0.2.99 instead" in what


def test_route_of_the_machines_own(lab, laptop):
    address = ipv4(lab)
    with meanwhile(laptop, f"ip route add {address} dev lo", f"ip route del {address} dev lo"):
        name, what = problem(laptop, f"{address}:80")
    assert name == "route"
    assert what.endswith("but goes by lo")


def test_firewall_of_the_machine(lab, laptop):
    address = ipv4(lab)
    rules = (
        "add table ip other; add chain ip other out { type filter hook output priority -310; }; "
        f"add rule ip other out ip daddr {address} tcp dport 80 reject with tcp reset"
    )
    with meanwhile(laptop, f"nft '{rules}'", "nft delete table ip other"):
        name, what = problem(laptop, f"{address}:80")
    assert name == "connection"
    assert "refused" in what


def test_port_of_udp_that_answers_whatever_is_said(lab, laptop):
    address = objects.addresses_of_pod(lab, pod_of(lab, "sample"))[0]
    found = findings(laptop, f"{address}:{workloads.NAME_UDP}/udp")
    assert [each["name"] for each in found] == ["session", "route", "cluster", "dial", "datagram"]
    assert {each["verdict"] for each in found} == {"ok"}
    assert "is answered" in found[-1]["what"]


def test_port_of_udp_that_the_service_does_not_have(laptop):
    name, what = problem(laptop, "sample.default:7002/udp")
    assert name == "cluster"
    assert "no UDP port 7002; it has 7001" in what


def test_closed_port_of_udp_of_a_pod_refuses_and_nobody_else_is_blamed(lab, laptop):
    address = workloads.pods_of(lab, "web")[0]["status"]["podIP"]
    found = findings(laptop, f"{address}:9/udp")
    assert [each["name"] for each in found] == ["session", "route", "cluster", "dial"]
    assert f"{address}:9/udp refuses" in found[3]["what"]


def test_silent_port_of_udp_is_no_failure(laptop):
    steps = {each["name"]: each for each in findings(laptop, f"{settings.CLUSTER_DNS}:53/udp")}
    assert [steps[name]["verdict"] for name in ("dial", "datagram")] == ["warning"] * 2
    assert "nor that its port is closed" in steps["dial"]["what"]


def test_address_that_is_not_the_clusters(laptop):
    name, what = problem(laptop, "192.0.2.200:80")
    assert name == "route"
    assert "is not led into the cluster" in what


def test_session_that_is_none(laptop):
    done = laptop.run(laptop.tow, "explain", "web", "--session", "1")
    assert done.returncode == NO_SESSION
    assert "Session 1 is none of 'tow connect'" in done.stderr


@pytest.mark.parametrize("text", ["web:99999", "two words", "http://", ""])
def test_what_is_no_destination_is_refused(laptop, text):
    done = laptop.run(laptop.tow, "explain", text)
    assert done.returncode == 2
    assert "HOST" in done.stderr
