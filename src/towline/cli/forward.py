"""`tow forward`: ports of this machine that lead into the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from towline.cli import offers
from towline.cli.access import permitted_access
from towline.cli.agentoptions import agent_options, note_unused, via_options
from towline.cli.command import Command
from towline.cli.detach import detach_option, run, run_in_background
from towline.cli.linkoptions import link_of, share_option, transport_option
from towline.cli.options import cluster_options, output_option
from towline.cli.output import forwards, narrator
from towline.errors import UsageError
from towline.features.state import Narrator
from towline.features.uplink.agentlink import LinkOptions
from towline.features.uplink.forward import target as targets
from towline.features.uplink.forward.forward import Forward, ForwardOptions
from towline.features.uplink.shortcut import Transport

EPILOG = """\b
Examples:
  tow forward web                      every port of the service web, by its own number here
  tow forward web 8080:80              its port 80, at 8080 of this machine
  tow forward deploy/web 8080:http     a port by its name, of whichever pod is ready
  tow forward db.internal:5432         a host that the cluster reaches
  tow forward pod/db-0 5432 --no-agent   straight to the pod, for whoever may make no Job
  tow forward kube-dns -n kube-system 5353:53/udp
"""


@click.command("forward", cls=Command, epilog=EPILOG)
@click.argument("target", shell_complete=offers.targets)
@click.argument("ports", nargs=-1, metavar="[[LOCAL:]REMOTE]...", shell_complete=offers.forwarded)
@cluster_options
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="Listen on this address of this machine; may be repeated. Default: its loopback.",
)
@click.option(
    "--agent/--no-agent",
    default=True,
    show_default=True,
    help="Whether an agent carries it; else the API's port-forward of a pod: TCP, no half-close.",
)
@agent_options
@via_options
@share_option
@transport_option
@detach_option
@output_option
def command(target: str, ports: tuple[str, ...], **chosen: Any) -> int:
    """Reach TARGET by ports of this machine.

    TARGET is a service, NAME or svc/NAME, or deploy/NAME, sts/NAME, ds/NAME, pod/NAME; or a
    host, by a name with a dot in it or an address, as the cluster reaches it. REMOTE is the number
    or name of a port, with /udp for datagrams; with LOCAL 0 a free port is chosen here. Needs no
    root. Ctrl-C ends it and leaves nothing behind.
    """
    with narrator(chosen["output"]) as tell:
        wanted, wishes = targets.parse(target, ports)
        access = permitted_access(chosen["kubeconfig"], chosen["context"], chosen["namespace"])
        options = ForwardOptions(
            wanted,
            wishes,
            chosen["addresses"],
            _link(chosen, tell),
        )
        if chosen["detach"]:
            return run_in_background(lambda tell: Forward(access, options, tell), tell, _ready_line)
        return run(Forward(access, options, tell), tell, _ready_line)


def _link(chosen: Mapping[str, Any], tell: Narrator) -> LinkOptions | None:
    """The agent and the link to it, if there is to be one. Raises UsageError."""
    if chosen["agent"]:
        return link_of(chosen, tell)
    if chosen["via"] or chosen["share"] or chosen["transport"] == Transport.DIRECT:
        raise UsageError(
            "Without an agent there is neither --via nor --share nor --transport direct.",
            "Leave them out, or --no-agent.",
        )
    note_unused(tell, "there is no agent")
    return None


def _ready_line(status: dict[str, Any], end: str) -> str:
    return (
        f"{status['target']} in {status['context']}/{status['namespace']}: "
        f"{forwards(status['forwarded'])}, live in {status['seconds']:.1f} s. {end}"
    )
