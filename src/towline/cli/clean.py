"""`tow clean`: removes what broken sessions of anybody have left."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import click

from towline.cli import duration
from towline.cli.access import permitted_scope
from towline.cli.command import Command
from towline.cli.options import all_namespaces_option, cluster_options, output_option
from towline.cli.output import print_json, progressing, tell_missing, write_table
from towline.features.upkeep.clean import Cleaning, clean
from towline.kube.client import Client
from towline.kube.config import Access

EPILOG = """\b
Examples:
  tow clean --dry-run           what would be done in the namespace, and why
  tow clean -A --older-than 1d  everywhere, but nothing that is younger than a day
"""


@click.command("clean", cls=Command, epilog=EPILOG)
@cluster_options
@all_namespaces_option
@click.option("--dry-run", is_flag=True, help="Change nothing, only tell.")
@click.option(
    "--older-than",
    callback=duration.option,
    metavar="DURATION",
    help="Leave alone what is younger, as 90s, 10m, 2h or 1d.",
)
@output_option
def command(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    all_namespaces: bool,
    dry_run: bool,
    older_than: timedelta | None,
    output: str,
) -> None:
    """Remove what broken sessions of anybody have left in a namespace; there should be nothing.

    Only what towline has made or changed, and only if its session is gone for good. All else is
    left alone, and listed with the reason.
    """
    access, where = permitted_scope(kubeconfig, context, namespace, everywhere=all_namespaces)
    done = asyncio.run(_clean(access, where, older_than, dry_run=dry_run, output=output))
    if output == "json":
        print_json([dataclasses.asdict(item) for item in done.items])
    elif done.items:
        rows = [(i.deed, i.namespace, i.what, i.owner, i.since, i.why) for i in done.items]
        write_table(("DO", "NAMESPACE", "WHAT", "OWNER", "SINCE", "WHY"), rows)
    else:
        click.echo("There is nothing of towline's.")
    tell_missing(done.missing)
    if dry_run:
        click.echo("note:  Nothing was changed: this was a dry run.", err=True)
    for error in done.errors:
        raise error


async def _clean(
    access: Access,
    namespace: str | None,
    older_than: timedelta | None,
    *,
    dry_run: bool,
    output: str,
) -> Cleaning:
    with progressing(output) as progress:
        async with Client(access) as client:
            return await clean(
                client, namespace, older_than=older_than, dry_run=dry_run, progress=progress
            )
