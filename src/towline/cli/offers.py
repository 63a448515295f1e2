"""What completion offers for options and arguments, as `shell_complete` of click's parameters.

A cluster is asked for a short time only, and whatever goes wrong is no answer: a shell waits for
it, and has nowhere to show errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from towline.kube.client import Client
    from towline.kube.kubeconfig import Entry

# Longer than a cluster takes that is far away, shorter than the patience at a prompt.
SECONDS = 1.5
# How much later the process ends that has not stopped asking: a lookup cannot be interrupted.
_MARGIN_SECONDS = 1.0

Question = Callable[["Client"], Awaitable[list[str]]]
Offer = list[CompletionItem[str]]


def contexts(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """Those of the kubeconfig."""
    return _beginning(incomplete, _kubeconfig_contexts(ctx))


def namespaces(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """Those of the cluster; for whoever may not list them those that the kubeconfig names."""
    from towline.features import choices  # noqa: PLC0415

    found = _ask(ctx, choices.namespaces) or [
        entry.text("namespace") for entry in _kubeconfig_contexts(ctx).values()
    ]
    return _beginning(incomplete, dict.fromkeys(filter(None, found)))


def targets(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """Services, and workloads with their kinds."""
    from towline.features import choices  # noqa: PLC0415

    def ask(client: Client) -> Awaitable[list[str]]:
        return choices.targets(client, client.access.namespace, incomplete)

    return _beginning(incomplete, _ask(ctx, ask))


def pods(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """Those of the namespace."""
    from towline.features import choices  # noqa: PLC0415

    def ask(client: Client) -> Awaitable[list[str]]:
        return choices.targets(client, client.access.namespace, "pod/")

    found = (each.removeprefix("pod/") for each in _ask(ctx, ask))
    return _beginning(incomplete, found)


def exposed(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """The target's ports, alone or behind a port of this machine; several with commas."""
    done, comma, last = incomplete.rpartition(",")
    return _ports(ctx, incomplete, done + comma + _local(last))


def forwarded(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """The target's ports, alone or behind a port of this machine."""
    return _ports(ctx, incomplete, _local(incomplete))


def _local(text: str) -> str:
    local, colon, _remote = text.rpartition(":")
    return local + colon


def _ports(ctx: click.Context, incomplete: str, begun: str) -> Offer:
    from towline.features import choices  # noqa: PLC0415

    # An option that lacks its value ends click's parsing: arguments are not assigned then.
    target = ctx.params.get("target") or next(iter(ctx.args), None)
    if target is None:
        return []

    def ask(client: Client) -> Awaitable[list[str]]:
        return choices.port_names(client, client.access.namespace, target)

    return _beginning(incomplete, (begun + port for port in _ask(ctx, ask)))


def sessions(_: click.Context, __: click.Parameter, incomplete: str) -> Offer:
    """The running sessions' process ids, each with what it is."""
    from towline.session import control  # noqa: PLC0415

    found = {str(pid): control.status(pid) for pid in control.find()}
    return [
        CompletionItem(pid, help=f"{status['command']} {status['context']}/{status['namespace']}")
        for pid, status in found.items()
        if status and pid.startswith(incomplete)
    ]


def keys(_: click.Context, __: click.Parameter, incomplete: str) -> Offer:
    """What can be set: options of all commands, or behind a command's name and a dot its own."""
    from towline.cli.schema import schema  # noqa: PLC0415
    from towline.settings.own import OWN  # noqa: PLC0415

    found = schema()
    command, dot, _name = incomplete.rpartition(".")
    if dot:
        return _beginning(
            incomplete, (f"{command}.{name}" for name in found.commands.get(command, ()))
        )
    return _beginning(incomplete, sorted({*found.options(), *OWN})) + [
        CompletionItem(f"{name}.") for name in found.commands if name.startswith(incomplete)
    ]


def values(ctx: click.Context, _: click.Parameter, incomplete: str) -> Offer:
    """What the option may be that is the key: what it offers on the command line itself."""
    from towline.cli.schema import find_option  # noqa: PLC0415

    option = find_option(*ctx.params["key"]) if ctx.params.get("key") else None
    if option is None:
        return []
    if option.is_flag and option.is_bool_flag:
        return _beginning(incomplete, ("true", "false"))
    return option.shell_complete(ctx, incomplete)


def profiles(_: click.Context, __: click.Parameter, incomplete: str) -> Offer:
    """The user's profiles of settings."""
    from towline.settings import places  # noqa: PLC0415

    return _beginning(incomplete, places.find().profile_names())


def _beginning(incomplete: str, names: Iterable[str]) -> Offer:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _kubeconfig_contexts(ctx: click.Context) -> Mapping[str, Entry]:
    from towline.errors import TowlineError  # noqa: PLC0415
    from towline.kube import kubeconfig  # noqa: PLC0415

    try:
        return kubeconfig.load(ctx.params.get("kubeconfig"), os.environ).contexts
    except TowlineError:
        return {}


def _ask(ctx: click.Context, question: Question) -> list[str]:
    """What the cluster that is meant on this command line says, or nothing."""
    from towline.errors import TowlineError  # noqa: PLC0415
    from towline.kube.call import Patience  # noqa: PLC0415
    from towline.kube.client import Client  # noqa: PLC0415
    from towline.kube.config import load_access  # noqa: PLC0415

    async def ask(client: Client) -> list[str]:
        async with asyncio.timeout(SECONDS), client:
            return await question(client)

    with contextlib.suppress(TowlineError, TimeoutError):
        access = load_access(
            kubeconfig_file=ctx.params.get("kubeconfig"),
            context=ctx.params.get("context"),
            namespace=ctx.params.get("namespace"),
        )
        # It imports much, which is not the cluster's time.
        client = Client(access, Patience(attempts=1))
        with _ending_with_the_process():
            return asyncio.run(ask(client))
    return []


@contextlib.contextmanager
def _ending_with_the_process() -> Iterator[None]:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, SECONDS + _MARGIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
