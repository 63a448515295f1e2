"""`tow explain`: why an address does not go through."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from towline.cli.command import Command
from towline.cli.findings import conclude, print_finding
from towline.cli.options import output_option
from towline.errors import SessionError
from towline.features.explain import explain
from towline.features.uplink.explain import EXPLAIN_SECONDS
from towline.session import control
from towline.wire.target import Port

EPILOG = """\b
Examples:
  tow explain web:80                     every step to port 80 of the service web
  tow explain web.shop                   the name, the route and what is there, without a port
  tow explain 10.96.0.10:53              an address
  tow explain dns.shop:53/udp            by datagrams
  tow explain http://web.shop/cart       as a program has it
"""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Where(NamedTuple):
    """What is to be reached; without a port it is the host alone."""

    host: str
    port: Port | None = None


class Destination(click.ParamType[Where]):
    """HOST[:PORT[/udp]], or a URL."""

    name = "HOST[:PORT[/udp]]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Where:
        """Read it."""
        if isinstance(value, Where):
            return value
        with suppress(ValueError):
            return Where(str(IPv6Address(value.strip("[]"))))
        with suppress(ValueError):
            where = _of_url(value) if "://" in value else _of_text(value)
            if where.host and not any(map(str.isspace, value)):
                return where
        usage = f"{value!r} is not HOST, HOST:PORT, HOST:PORT/udp or a URL with a host."
        return self.fail(usage, param, ctx)


def _of_url(text: str) -> Where:
    parts = urlsplit(text)
    number = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    return Where(parts.hostname or "", None if number is None else Port.parse(str(number)))


def _of_text(text: str) -> Where:
    parts = urlsplit(f"//{text}")
    if parts.port is None and not parts.path:
        return Where(parts.hostname or "")
    return Where(parts.hostname or "", Port.parse(f"{parts.port}{parts.path}"))


@click.command("explain", cls=Command, epilog=EPILOG)
@click.argument("destination", metavar="HOST[:PORT[/udp]]", type=Destination())
@click.option("--session", "pid", type=int, help="Ask this session; its process id.")
@output_option
def command(destination: Where, pid: int | None, output: str) -> int:
    """Tell why an address does not go through, or that it does.

    Walks every step from a program of this machine to whoever answers in the cluster: the
    session, the name, what programs here get for it, the route, what the cluster has there, a
    connection of the agent's, a connection from here. It stops at the step that fails and says
    what to do. Needs a running session of 'tow connect'. Ends with 1 if a step fails.

    By UDP (PORT/udp) there are no connections: datagrams without data go instead, which most
    programs do not answer. Silence is no failure then; a port that says it is closed is.
    """
    status, told = _session_for(destination, pid)
    findings = []
    for finding in explain(destination.host, destination.port, status, told):
        findings.append(finding)
        if output == "text":
            print_finding(finding)
    return conclude(findings, output)


def _session_for(where: Where, pid: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The session that leads the host into a cluster, else the newest; and what it tells."""
    answers = []
    asked = {"host": where.host, "port": str(where.port or "")}
    for status in _sessions(pid):
        told = control.ask(status["pid"], "explain", EXPLAIN_SECONDS, **asked)
        if told is not None:
            answers.append((status, told))
        if told and any(each["led"] for each in told.get("addresses", ())):
            return answers[-1]
    if answers:
        return answers[0]
    raise SessionError(
        f"Session {pid} is none of 'tow connect', or has ended."
        if pid
        else "No session of 'tow connect' runs on this machine, so nothing leads to a cluster.",
        "See 'tow status'." if pid else "Start one: tow connect.",
    )


def _sessions(pid: int | None) -> list[dict[str, Any]]:
    """Those of `tow connect`, the newest first, or the one that is asked for."""
    found = [control.status(each) for each in control.find() if pid in (None, each)]
    return [each for each in reversed(found) if each and each["command"] == "connect"]
