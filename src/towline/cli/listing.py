"""`tow list`: who has what in the cluster."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import click

from towline.cli.access import permitted_scope
from towline.cli.command import Command
from towline.cli.options import all_namespaces_option, cluster_options, output_option
from towline.cli.output import print_json, tell_missing, write_table
from towline.features.upkeep.listing import Entry, Listing, listing
from towline.kube.client import Client
from towline.kube.config import Access
from towline.session import control

EPILOG = """\b
Examples:
  tow list                      in the namespace of the current context
  tow list -n shop              in the namespace shop
  tow list -A -o json           everywhere, for a program to read
"""

HEAD = ("NAMESPACE", "TARGET", "COMMAND", "MODE", "OWNER", "SINCE", "AGENT", "STATE")


@click.command("list", cls=Command, epilog=EPILOG)
@cluster_options
@all_namespaces_option
@output_option
def command(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    all_namespaces: bool,
    output: str,
) -> None:
    """Show who has what in a namespace: the exchanges, mirrors, previews and agents of everybody.

    Whose it is and since when, and how its agent is. `tow status` shows the sessions of this
    machine.
    """
    access, where = permitted_scope(kubeconfig, context, namespace, everywhere=all_namespaces)
    found = asyncio.run(_list(access, where))
    entries = [*found.entries, *_unlisted(access, where)]
    if output == "json":
        print_json([dataclasses.asdict(entry) for entry in entries])
    elif entries:
        write_table(HEAD, [dataclasses.astuple(entry) for entry in entries])
    else:
        click.echo(f"Nobody has anything in {where or 'the cluster'}.")
    tell_missing(found.missing)


async def _list(access: Access, namespace: str | None) -> Listing:
    async with Client(access) as client:
        return await listing(client, namespace)


def _unlisted(access: Access, namespace: str | None) -> Iterator[Entry]:
    """Sessions of this machine that have nothing in the cluster by which others find them."""
    for status in filter(None, map(control.status, control.find())):
        is_here = namespace in (None, status["namespace"]) and status["server"] == access.server
        if is_here and (how := status.get("unlisted")):
            yield Entry(
                namespace=status["namespace"],
                target=status.get("target", ""),
                command=status["command"],
                mode=how,
                owner=status["owner"],
                since=status["since"],
                agent=status.get("agent", ""),
                state=status["state"],
            )
