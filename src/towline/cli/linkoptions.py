"""Commands with a link of their own: which way that goes, and what else their options say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from towline.cli.agentoptions import agent_or_host
from towline.cli.options import Decorator
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


def link_of(chosen: Mapping[str, Any], tell: Narrator) -> LinkOptions:
    """The agent and the link to it that the options ask for. Raises UsageError."""
    return LinkOptions(agent_or_host(chosen, tell), chosen["timeout"], _transport_of(chosen))


def _transport_of(chosen: Mapping[str, Any]) -> Transport:
    """The way that the options mean. Raises UsageError for one that a guest cannot have."""
    transport = Transport(chosen["transport"])
    if transport is Transport.DIRECT and chosen["via"]:
        raise UsageError(
            "An agent in a pod of somebody else's (--via) is reached through the API only.",
            "Leave out --transport.",
        )
    return transport
