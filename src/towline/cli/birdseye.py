"""`tow birdseye`: all services and workloads, and who does what with them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Iterator

import click

from towline.cli.access import permitted_scope
from towline.cli.command import Command
from towline.cli.options import all_namespaces_option, cluster_options, output_option
from towline.cli.output import missing, plain, table
from towline.cli.redrawing import nobody_reads, redrawing
from towline.features.first import first
from towline.features.upkeep.birdseye import Use, View, birdseye
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.errors import ApiError
from towline.session import runner

EPILOG = """\b
Examples:
  tow birdseye             the services and workloads of the namespace, and who is at them
  tow birdseye -A --watch  those of all namespaces, again and again as that changes
"""
HEAD = ("NAMESPACE", "TARGET", "COMMAND", "HOW", "OWNER", "SINCE", "LAPTOP")
# It is looked again after so long, or so many times as long as the last look took.
AGAIN_SECONDS = 2.0
AGAIN_TIMES = 4


@click.command("birdseye", cls=Command, epilog=EPILOG)
@cluster_options
@all_namespaces_option
@click.option("-w", "--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@output_option
def command(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    all_namespaces: bool,
    watch: bool,
    output: str,
) -> int:
    """Show all services and workloads of a namespace, and who does what with them.

    Who connects, exchanges, meshes, mirrors or previews, how and since when, whether their laptop
    is there, and what was left behind by whom. It changes nothing.
    """
    access, where = permitted_scope(kubeconfig, context, namespace, everywhere=all_namespaces)
    if watch:
        return runner.run(lambda session: _watch(session, access, where, output))
    view = asyncio.run(_look(access, where))
    click.echo(_picture(view, output))
    for note in _notes(view):
        click.echo(note, err=True)
    return 0


async def _look(access: Access, namespace: str | None) -> View:
    async with Client(access) as client:
        return await birdseye(client, namespace)


async def _watch(
    session: runner.Session, access: Access, namespace: str | None, output: str
) -> None:
    """Show it whenever it has changed, until nobody looks any more."""
    async with Client(access) as client:
        view = await birdseye(client, namespace)
        session.live()
        with redrawing(in_place=output == "text") as show:
            await first(_show(client, namespace, view, output, show), nobody_reads())


async def _show(
    client: Client,
    namespace: str | None,
    view: View,
    output: str,
    show: Callable[[str], None],
) -> None:
    """What is there at first, then what comes. What cannot be seen for now is looked for on."""
    shown, trouble, pause = "", "", AGAIN_SECONDS
    while True:
        picture = _picture(view, output)
        if output == "text":
            picture = "\n".join([picture, *_notes(view), *([trouble] if trouble else [])])
        if picture != shown:
            show(picture)
            shown = picture
        await asyncio.sleep(pause)
        began = time.monotonic()
        view, trouble = await _again(client, namespace, view)
        pause = max(AGAIN_SECONDS, AGAIN_TIMES * (time.monotonic() - began))


async def _again(client: Client, namespace: str | None, view: View) -> tuple[View, str]:
    """What is to be seen now; if that cannot be told, what was, and why."""
    try:
        return await birdseye(client, namespace), ""
    except ApiError as error:
        return view, f"error: {plain(error.summary)}"


def _picture(view: View, output: str) -> str:
    if output == "json":
        return json.dumps([dataclasses.asdict(sight) for sight in view.sights])
    rows: list[tuple[str, ...]] = []
    for sight in view.sights:
        where = (sight.namespace, sight.target)
        rows += [(*where, *_cells(use)) for use in sight.uses] or [(*where, *[""] * 5)]
    return table(HEAD, rows) if rows else "There are no services and no workloads."


def _cells(use: Use) -> tuple[str, ...]:
    laptop = f"{use.laptop}: left behind" if use.left else str(use.laptop)
    return use.command, " or ".join(use.rules) or use.mode, use.owner, use.since, laptop


def _notes(view: View) -> Iterator[str]:
    for right in view.missing:
        yield missing(right)
    for right in view.unasked:
        yield f"note:  You may not {right}: agents cannot tell whether their laptops are there."
    if any(use.left for sight in view.sights for use in sight.uses):
        yield "note:  'tow clean' puts right what was left behind, and removes it."
