"""`tow explain`: why an address does not go through."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

import click

from towline.cli.command import Command
from towline.cli.findings import conclude, print_finding
from towline.cli.options import output_option
from towline.errors import SessionError
from towline.features.explain import explain
from towline.features.uplink.explain import EXPLAIN_SECONDS
from towline.session import control

EPILOG = """\b
Examples:
  tow explain web:80                     every step to port 80 of the service web
  tow explain web.shop                   the name, the route and what is there, without a port
  tow explain 10.96.0.10:53              an address
  tow explain http://web.shop/cart       as a program has it
"""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Destination(click.ParamType[tuple[str, int]]):
    """HOST[:PORT], or a URL; the port is 0 if there is none."""

    name = "HOST[:PORT]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        with suppress(ValueError):
            return str(IPv6Address(value.strip("[]"))), 0
        with suppress(ValueError):
            parts = urlsplit(value if "://" in value else f"//{value}")
            port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
            is_whole = not any(map(str.isspace, value)) and (parts.port is None or port)
            if parts.hostname and is_whole:
                return parts.hostname, port
        return self.fail(f"{value!r} is not HOST, HOST:PORT or a URL with a host.", param, ctx)


@click.command("explain", cls=Command, epilog=EPILOG)
@click.argument("destination", metavar="HOST[:PORT]", type=Destination())
@click.option("--session", "pid", type=int, help="Ask this session; its process id.")
@output_option
def command(destination: tuple[str, int], pid: int | None, output: str) -> int:
    """Tell why an address does not go through, or that it does.

    Walks every step from a program of this machine to whoever answers in the cluster: the
    session, the name, what programs here get for it, the route, what the cluster has there, a
    connection of the agent's, a connection from here. It stops at the step that fails and says
    what to do. Needs a running session of 'tow connect'. Ends with 1 if a step fails.
    """
    host, port = destination
    status, told = _session_for(host, port, pid)
    findings = []
    for finding in explain(host, port, status, told):
        findings.append(finding)
        if output == "text":
            print_finding(finding)
    return conclude(findings, output)


def _session_for(host: str, port: int, pid: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The session that leads the host into a cluster, else the newest; and what it tells."""
    answers = []
    for status in _sessions(pid):
        told = control.ask(status["pid"], "explain", EXPLAIN_SECONDS, host=host, port=port)
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
