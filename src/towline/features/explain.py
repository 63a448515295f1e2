"""Why an address does not go through: every step of the way, until one that fails.

The session's part of it is :mod:`towline.features.uplink.explain`; the rest is what programs of
this machine meet, and so it is tried as they do it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from towline.cluster.ranges import Address
from towline.errors import RedirectError
from towline.features.findings import Finding, Verdict, some
from towline.redirect import conflicts
from towline.wire.dns import Rcode
from towline.wire.target import Port, Protocol

CONNECT_SECONDS = 8.0
# A datagram may be lost.
DATAGRAMS = 2
DATAGRAM_SECONDS = 1.0

Json = Mapping[str, Any]

_ACCEPTED, _ANSWERED, _SILENT = "accepted", "answered", "silent"
_OF_DIALS = {
    "refused": (
        "refuses: nobody listens there",
        "Is it the right port, and does the program listen on more than its pod's loopback?",
    ),
    "timed out": (
        "does not answer the agent's pod",
        "A NetworkPolicy may drop what other pods send, or the pod hangs.",
    ),
    "host unreachable": (
        "cannot be reached from the agent's pod: no route to host",
        "Is there a pod or machine that has this address?",
    ),
    "net unreachable": (
        "cannot be reached from the agent's pod: network is unreachable",
        "Pods there may have no addresses of this family.",
    ),
    "link lost": (
        "could not be dialled: the link to the cluster is lost",
        "It comes back by itself; 'tow status' says when.",
    ),
}


def explain(host: str, port: Port | None, status: Json, told: Json) -> Iterator[Finding]:
    """The steps to `host`, and to its `port` if there is one, with what each has shown.

    `status` is that of a session of `tow connect`, `told` what it says of the host.
    """
    session = _of_session(status)
    yield session
    if session.verdict is Verdict.PROBLEM:
        return
    if told.get("name") is not None or not told.get("addresses"):
        for finding in _of_name(host, status, told):
            yield finding
            if finding.verdict is Verdict.PROBLEM:
                return
    for each in told["addresses"]:
        yield from _until_problem(_of_address(each, port, status))


def _until_problem(steps: Iterator[Finding]) -> Iterator[Finding]:
    for finding in steps:
        yield finding
        if finding.verdict is Verdict.PROBLEM:
            return


def _of_session(status: Json) -> Finding:
    who = f"session {status['pid']} ({status['context']}/{status['namespace']})"
    if status["state"] == "connected":
        return Finding("session", Verdict.OK, f"{who} is connected")
    return Finding(
        "session",
        Verdict.PROBLEM,
        f"{who} is {status['state']}",
        "Wait until it is connected; its own output says what it waits for.",
    )


def _of_name(host: str, status: Json, told: Json) -> Iterator[Finding]:
    name = told.get("name")
    if name is None:
        yield Finding("name", Verdict.PROBLEM, f"{host!r} is no host name, nor an address")
        return
    yield _of_lookup(host, status, name)
    yield _of_programs(host, name["addresses"])


def _of_lookup(host: str, status: Json, name: Json) -> Finding:
    if name["addresses"]:
        return Finding("name", Verdict.OK, f"{host} has {', '.join(name['addresses'])}")
    whom = _asked(name)
    if name["rcode"] == Rcode.NXDOMAIN:
        return Finding(
            "name",
            Verdict.PROBLEM,
            f"nobody knows {host}, of {whom}",
            f"Names without a namespace are those of {status['namespace']}; that of another is "
            f"NAME.NAMESPACE. 'tow birdseye -A' lists services.",
        )
    if name["rcode"] == Rcode.NOERROR:
        return Finding(
            "name",
            Verdict.PROBLEM,
            f"{host} exists, but has no address, say {whom}",
            "A headless service has the addresses of its ready pods: there may be none.",
        )
    return Finding(
        "name",
        Verdict.PROBLEM,
        f"the lookup of {host} failed, in {whom}",
        "The nameserver that should answer does not: the cluster's, or this machine's own.",
    )


def _asked(name: Json) -> str:
    whom = [f"the cluster (asked for {some(name['asked'])})"] if name["asked"] else []
    return " and ".join([*whom, *(["this machine's nameservers"] if name["outside"] else [])])


def _of_programs(host: str, addresses: list[str]) -> Finding:
    """Whether what programs of this machine look up comes to the same."""
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = {str(entry[4][0]) for entry in entries}
    except (OSError, UnicodeError):
        return Finding(
            "lookup",
            Verdict.PROBLEM,
            f"programs of this machine do not find {host}",
            "They do not ask the nameservers of /etc/resolv.conf: see the hosts line of "
            "/etc/nsswitch.conf, and 'tow check'.",
        )
    if found & set(addresses):
        return Finding("lookup", Verdict.OK, "programs of this machine find it, too")
    return Finding(
        "lookup",
        Verdict.PROBLEM,
        f"programs of this machine get {', '.join(sorted(found))} instead",
        "Something comes before the nameservers: /etc/hosts, or another source in the hosts line "
        "of /etc/nsswitch.conf.",
    )


def _of_address(told: Json, port: Port | None, status: Json) -> Iterator[Finding]:
    address = ip_address(told["address"])
    yield _of_route(address, led=told["led"], status=status)
    if not told["led"]:
        if port:
            yield _from_here(address, port, "It goes this machine's own way.")
        return
    yield _of_object(address, port, told["has"])
    if port:
        yield _of_dial(address, port, told["dial"])
        yield _from_here(
            address,
            port,
            "Between programs here and the session is only this machine: rules of a firewall, or "
            "of another VPN ('nft list ruleset').",
            expects_answer=told["dial"] == _ANSWERED,
        )


def _of_route(address: Address, *, led: bool, status: Json) -> Finding:
    try:
        device = conflicts.device_to(address)
    except RedirectError as error:
        return Finding("route", Verdict.WARNING, error.summary, error.hint)
    way = f"goes by {device}" if device else "has no route on this machine"
    if not led:
        return Finding(
            "route",
            Verdict.WARNING if device else Verdict.PROBLEM,
            f"{address} is not led into the cluster, and {way}",
            f"If only the cluster reaches it: tow connect --include {address}.",
        )
    if device == status["device"]:
        return Finding("route", Verdict.OK, f"{address} is led into the cluster: {way}")
    return Finding(
        "route",
        Verdict.PROBLEM,
        f"{address} should go by {status['device']} into the cluster, but {way}",
        "A route of this machine's own is more precise, or a newer session has taken the "
        "range: see 'ip route' and 'tow status'.",
    )


def _of_object(address: Address, port: Port | None, has: Json | None) -> Finding:
    if has is None:
        return Finding(
            "cluster",
            Verdict.WARNING,
            f"no service or pod that you may see has {address}",
        )
    what = f"{address} is the {has['kind']} {has['namespace']}/{has['name']}"
    ports = ", ".join(map(str, has["ports"])) or "none"
    if has["kind"] == "Service" and port and port.number not in has["ports"]:
        return Finding(
            "cluster",
            Verdict.PROBLEM,
            f"{what}, which has no {port.protocol.name} port {port.number}; it has {ports}",
            "A service answers on its own ports only, whatever its pods listen on.",
        )
    if not has["ready"]:
        return Finding(
            "cluster",
            Verdict.PROBLEM if has["kind"] == "Service" else Verdict.WARNING,
            f"{what}, of which nothing is ready ({has['unready']} not)",
            f"See why: kubectl -n {has['namespace']} get pods.",
        )
    unready = f", {has['unready']} not" if has["unready"] else ""
    return Finding("cluster", Verdict.OK, f"{what}: ports {ports}; {has['ready']} ready{unready}")


def _of_dial(address: Address, port: Port, dial: str) -> Finding:
    where = _where(address, port)
    if dial == _ACCEPTED:
        return Finding("dial", Verdict.OK, f"{where} accepts connections of the agent's pod")
    if dial == _ANSWERED:
        return Finding("dial", Verdict.OK, f"{where} answers datagrams of the agent's pod")
    if dial == _SILENT:
        return Finding(
            "dial",
            Verdict.WARNING,
            f"{where} says nothing to the agent's pod, nor that its port is closed",
            "That need not mean anything: a datagram without data was sent, which few programs "
            "answer. Ask it by a client of its own. A NetworkPolicy that drops all looks the same.",
        )
    what, hint = _OF_DIALS[dial]
    return Finding("dial", Verdict.PROBLEM, f"{where} {what}", hint)


def _from_here(address: Address, port: Port, hint: str, *, expects_answer: bool = False) -> Finding:
    """Try what a program would; `hint` is for when that fails."""
    if port.protocol is Protocol.UDP:
        return _of_datagrams(address, port, hint, expects_answer=expects_answer)
    return _of_connection(address, port, hint)


def _of_connection(address: Address, port: Port, hint: str) -> Finding:
    where = _where(address, port)
    try:
        socket.create_connection((str(address), port.number), CONNECT_SECONDS).close()
    except OSError as error:
        return Finding(
            "connection",
            Verdict.PROBLEM,
            f"a connection from here to {where} fails: {error.strerror or error}",
            hint,
        )
    return Finding("connection", Verdict.OK, f"a connection from here to {where} works")


def _of_datagrams(address: Address, port: Port, hint: str, *, expects_answer: bool) -> Finding:
    """Send what means nothing to most programs; silence is a failure if others had an answer."""
    where = _where(address, port)
    try:
        is_answered = _is_answered(address, port.number)
    except OSError as error:
        what = f"a datagram from here to {where} fails: {error.strerror or error}"
        return Finding("datagram", Verdict.PROBLEM, what, hint)
    if is_answered:
        return Finding("datagram", Verdict.OK, f"a datagram from here to {where} is answered")
    what = f"a datagram from here to {where} is sent, and nothing comes back"
    if expects_answer:
        return Finding("datagram", Verdict.PROBLEM, what, hint)
    return Finding(
        "datagram", Verdict.WARNING, what, "Whether it arrives cannot be known from that."
    )


def _is_answered(address: Address, port: int) -> bool:
    """Whether datagrams without data are answered. Raises OSError when they are refused."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as program:
        program.settimeout(DATAGRAM_SECONDS)
        program.connect((str(address), port))
        for _ in range(DATAGRAMS):
            program.send(b"")
            with suppress(TimeoutError):
                program.recv(1)
                return True
    return False


def _where(address: Address, port: Port) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port.number}" + ("/udp" if port.protocol is Protocol.UDP else "")
