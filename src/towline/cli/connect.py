"""`tow connect`: the uplink, in the foreground or in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from towline.cli.access import permitted_access
from towline.cli.agentoptions import agent_options, via_options
from towline.cli.command import Command
from towline.cli.detach import detach_option, run, run_in_background
from towline.cli.linkoptions import link_of, share_option, transport_option
from towline.cli.nameoptions import name_options, names_of
from towline.cli.options import (
    addresses_options,
    cluster_options,
    inject_option,
    output_option,
    pods_option,
)
from towline.cli.output import narrator
from towline.errors import SessionError
from towline.features.findings import some
from towline.features.uplink import targets
from towline.features.uplink.capture import Choice
from towline.features.uplink.connect import Connection, ConnectOptions
from towline.kube.config import Access
from towline.redirect.launch import start_helper
from towline.session import control

EPILOG = """\b
Examples:
  tow connect                       until Ctrl-C, with the names of the context's namespace
  tow connect -n shop               with the names of namespace shop
  tow connect --detach              in the background; 'tow disconnect' ends it
  tow connect --image reg/python:3  for clusters that only pull from their own registry
  tow connect --via web-0           by a pod that is there, for whoever may make none
  tow connect --inject              with a sidecar of Istio, to reach what wants its mutual TLS
  tow connect --domain corp.internal  with names of a zone that only the cluster knows
  tow connect --include db.corp     with a host besides that only the cluster reaches
"""


@click.command("connect", cls=Command, epilog=EPILOG)
@cluster_options
@agent_options
@inject_option
@via_options
@name_options
@addresses_options
@pods_option
@share_option
@transport_option
@detach_option
@output_option
def command(**chosen: Any) -> int:
    """Reach every service of the cluster by its name from this machine.

    Bare names (web) are those of the namespace; web.other-ns, web.other-ns.svc and full names
    work as in a pod, and so do service and pod addresses, on IPv4 and IPv6. It stays in the
    foreground until Ctrl-C and leaves nothing behind, here or in the cluster.

    Root is needed for a small helper only, for which sudo is asked unless this is root already.
    """
    with narrator(chosen["output"]) as tell:
        access = permitted_access(chosen["kubeconfig"], chosen["context"], chosen["namespace"])
        _refuse_second(access)
        options = ConnectOptions(
            link_of(chosen, tell),
            names_of(chosen),
            _choice(chosen),
        )
        if chosen["detach"]:
            # Here sudo can ask for a password.
            given = replace(options, helper=asyncio.run(start_helper()))
            return run_in_background(
                lambda tell: Connection(access, given, tell), tell, _ready_line, given.helper
            )
        return run(Connection(access, options, tell), tell, _ready_line)


def _choice(chosen: Mapping[str, Any]) -> Choice:
    """What the options of addresses come to."""
    include, exclude = chosen["include"], chosen["exclude"]
    return Choice(targets.included(include), targets.excluded(exclude), chosen["pods"])


def _refuse_second(access: Access) -> None:
    """One session serves a namespace of a cluster; a second one would only stand in its way."""
    for pid in control.find():
        other = control.status(pid)
        if other and _is_same(other, access):
            raise SessionError(
                f"Session {pid} is connected to the namespace {access.namespace} already.",
                f"Use it, or end it with 'tow disconnect {pid}'.",
            )


def _is_same(other: dict[str, Any], access: Access) -> bool:
    where = (other["command"], other["server"], other["namespace"])
    return where == ("connect", access.server, access.namespace)


def _ready_line(status: dict[str, Any], end: str) -> str:
    ranges = some(status["ranges"], ", ")
    return (
        f"Connected to {status['context']}/{status['namespace']} in {status['seconds']:.1f} s: "
        f"names such as web, web.other-ns and web.other-ns.svc"
        f"{', and ' + ranges if ranges else ''}. {end}"
    )
