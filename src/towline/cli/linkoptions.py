"""Commands with a link of their own: which way that goes, and what else their options say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from towline.cli.agentoptions import agent_or_host
from towline.cli.options import Decorator
from towline.cluster.guest import HostPod
from towline.cluster.sharing import shared
from towline.errors import UsageError
from towline.features.state import Narrator
from towline.features.uplink.agentlink import LinkOptions
from towline.features.uplink.shortcut import Transport

transport_option: Decorator = click.option(
    "--transport",
    type=click.Choice(list(map(str, Transport))),
    default=str(Transport.AUTO),
    show_default=True,
    help="The way of the link: through the Kubernetes API; direct, to the agent's own address; "
    "or direct where that can be reached, and else through the API.",
)

share_option: Decorator = click.option(
    "--share/--no-share",
    default=False,
    show_default=True,
    help="Whether to use one agent of the namespace together with all who do so, which ends with "
    "the last one.",
)


def link_of(chosen: Mapping[str, Any], tell: Narrator) -> LinkOptions:
    """The agent and the link to it that the options ask for. Raises UsageError."""
    agent = agent_or_host(chosen, tell)
    if chosen["share"]:
        if isinstance(agent, HostPod):
            raise UsageError(
                "--share cannot be had with --via: in a pod of somebody else's each transport has "
                "an agent of its own, which ends with it.",
                "Leave out one of the two, or say --no-share if it is set for always.",
            )
        agent = shared(agent)
    return LinkOptions(agent, chosen["timeout"], _transport_of(chosen))


def _transport_of(chosen: Mapping[str, Any]) -> Transport:
    """The way that the options mean. Raises UsageError for one that a guest cannot have."""
    transport = Transport(chosen["transport"])
    if transport is Transport.DIRECT and chosen["via"]:
        raise UsageError(
            "An agent in a pod of somebody else's (--via) is reached through the API only.",
            "Leave out --transport.",
        )
    return transport
