"""`tow recover`: puts right what a broken session has left on an object."""

from __future__ import annotations

import asyncio
import dataclasses

import click

from towline.cli import offers
from towline.cli.access import permitted_access
from towline.cli.command import Command
from towline.cli.options import cluster_options, output_option
from towline.cli.output import plain, print_json, progressing
from towline.features.reference import Reference
from towline.features.upkeep.recover import Recovered, recover
from towline.kube.client import Client
from towline.kube.config import Access

EPILOG = """\b
Examples:
  tow recover web               the service web has its own pods again
  tow recover deploy/web        the deployment has its replicas again
"""


@click.command("recover", cls=Command, epilog=EPILOG)
@click.argument("target", shell_complete=offers.targets)
@cluster_options
@output_option
def command(
    target: str, kubeconfig: str | None, context: str | None, namespace: str | None, output: str
) -> None:
    """Put TARGET right after anybody's broken exchange or mirror of it, and remove the agent.

    What was there before is on the object itself. A session that has it and is not broken sees
    that and ends. Changes nothing when there is nothing to recover.
    """
    wanted = Reference.parse(target)
    access = permitted_access(kubeconfig, context, namespace)
    done = asyncio.run(_recover(access, wanted, output))
    if output == "json":
        print_json(dataclasses.asdict(done))
    else:
        click.echo(plain(done.message))


async def _recover(access: Access, target: Reference, output: str) -> Recovered:
    with progressing(output) as progress:
        async with Client(access) as client:
            return await recover(client, access.namespace, target, progress)
