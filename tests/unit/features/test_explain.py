"""What the steps to a host say; what is asked of the machine is played."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from towline.features import explain as module
from towline.features.explain import explain
from towline.features.findings import Finding, Verdict
from towline.wire.dns import Rcode
from towline.wire.target import Port

STATUS = {
    "pid": 7,
    "context": "lab",
    "namespace": "shop",
    "state": "connected",
    "device": "tow0",
}
NAME = {"asked": ["web.shop.svc.x"], "outside": True, "rcode": 0, "addresses": ["10.0.0.1"]}
SERVICE = {"kind": "Service", "namespace": "shop", "name": "web", "ports": [80]}
OTHER_PORT = {**SERVICE, "ports": [81], "ready": 1, "unready": 0}
WEB = {**SERVICE, "ready": 2, "unready": 1}
LED = {"address": "10.0.0.1", "led": True, "has": WEB, "dial": "accepted"}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs find 10.0.0.1 and get there by tow0."""

    def found(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(module.socket, "getaddrinfo", found)
    monkeypatch.setattr(module.conflicts, "device_to", lambda _: "tow0")
    monkeypatch.setattr(module.socket, "create_connection", lambda *_: socket.socket())


def steps(told: Any, port: str = "80", **status: str) -> list[Finding]:
    return list(explain("web", Port.parse(port) if port else None, {**STATUS, **status}, told))


def test_all_is_well() -> None:
    found = steps({"name": NAME, "addresses": [LED]})
    assert {each.verdict for each in found} == {Verdict.OK}
    assert "2 ready, 1 not" in found[-3].what


def test_without_a_port_nothing_is_dialled() -> None:
    found = steps({"name": None, "addresses": [{**LED, "dial": None}]}, port="")
    assert [each.name for each in found] == ["session", "route", "cluster"]


def test_session_that_has_no_link_is_where_it_ends() -> None:
    (session,) = steps({"name": NAME, "addresses": [LED]}, state="reconnecting")
    assert session.verdict is Verdict.PROBLEM
    assert "is reconnecting" in session.what


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "is no host name"),
        (
            {**NAME, "addresses": [], "rcode": Rcode.NXDOMAIN},
            "nobody knows web, of the cluster (asked for web.shop.svc.x) and this machine's",
        ),
        ({**NAME, "addresses": [], "outside": False}, "exists, but has no address"),
        ({**NAME, "addresses": [], "rcode": Rcode.SERVFAIL}, "the lookup of web failed"),
    ],
)
def test_name_without_addresses_is_where_it_ends(name: Any, words: str) -> None:
    last = steps({"name": name, "addresses": []})[-1]
    assert (last.name, last.verdict) == ("name", Verdict.PROBLEM)
    assert words in last.what


@pytest.mark.parametrize(
    ("change", "step", "words"),
    [
        (
            {"has": {**SERVICE, "ports": [81], "ready": 1, "unready": 0}},
            "cluster",
            "no TCP port 80",
        ),
        ({"has": {**SERVICE, "ready": 0, "unready": 3}}, "cluster", "nothing is ready (3 not)"),
        ({"dial": "refused"}, "dial", "refuses: nobody"),
        ({"dial": "timed out"}, "dial", "does not answer"),
        ({"dial": "link lost"}, "dial", "the link to the cluster is lost"),
    ],
)
def test_step_in_the_cluster_that_fails_is_the_last(
    change: dict[str, Any], step: str, words: str
) -> None:
    last = steps({"name": NAME, "addresses": [{**LED, **change}]})[-1]
    assert (last.name, last.verdict) == (step, Verdict.PROBLEM)
    assert words in last.what


def test_object_that_may_not_be_seen_ends_nothing() -> None:
    found = steps({"name": NAME, "addresses": [{**LED, "has": None}]})
    assert [each.verdict for each in found if each.name == "cluster"] == [Verdict.WARNING]
    assert found[-1].name == "connection"


def test_address_outside_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.conflicts, "device_to", lambda _: "eth0")
    found = steps({"name": None, "addresses": [{"address": "192.0.2.1", "led": False}]})
    assert [(each.name, each.verdict) for each in found[1:]] == [
        ("route", Verdict.WARNING),
        ("connection", Verdict.OK),
    ]
    assert "goes by eth0" in found[1].what
    assert "--include 192.0.2.1" in found[1].hint


def test_other_failures_than_those_of_the_cluster_are_this_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(module.socket, "create_connection", fails)
    last = steps({"name": NAME, "addresses": [LED]})[-1]
    assert (last.name, last.verdict) == ("connection", Verdict.PROBLEM)
    assert "timed out" in last.what
    assert "firewall" in last.hint


class Program(socket.socket):
    """A UDP socket on which something comes back, or fails to."""

    comes: bytes | Exception = b""

    def connect(self, _: Any) -> None: ...

    def send(self, *_: Any) -> int:
        return 0

    def recv(self, *_: Any) -> bytes:
        if isinstance(self.comes, Exception):
            raise self.comes
        return self.comes


@pytest.mark.parametrize(
    ("dial", "comes", "verdicts", "words"),
    [
        ("answered", b"", "ok ok", "is answered"),
        ("answered", TimeoutError(), "ok problem", "nothing comes back"),
        ("silent", TimeoutError(), "warning warning", "nothing comes back"),
        ("silent", b"x", "warning ok", "is answered"),
        ("silent", ConnectionRefusedError(111, "refused"), "warning problem", "fails: refused"),
        ("refused", b"", "problem", "10.0.0.1:80/udp refuses: nobody listens there"),
    ],
)
def test_by_udp_silence_is_a_failure_only_where_the_agent_had_an_answer(
    monkeypatch: pytest.MonkeyPatch, dial: str, comes: Any, verdicts: str, words: str
) -> None:
    monkeypatch.setattr(Program, "comes", comes)
    monkeypatch.setattr(module.socket, "socket", Program)
    found = steps({"name": None, "addresses": [{**LED, "dial": dial}]}, port="80/udp")[3:]
    assert [each.verdict for each in found] == verdicts.split()
    assert words in found[-1].what


def test_service_without_such_a_port_of_udp_says_of_which_protocol() -> None:
    last = steps({"name": None, "addresses": [{**LED, "has": OTHER_PORT}]}, port="80/udp")[-1]
    assert "no UDP port 80; it has 81" in last.what
