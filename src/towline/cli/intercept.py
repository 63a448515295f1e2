"""What `tow exchange` and `tow mirror` have in common: their options, and one session of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from towline.cli import command, offers
from towline.cli.access import permitted_access
from towline.cli.agentoptions import agent_options, agent_spec, note_unused
from towline.cli.options import (
    cluster_options,
    expose_option,
    output_option,
    together,
)
from towline.cli.output import narrator
from towline.features.downlink import exchange
from towline.features.downlink.injection import Injection
from towline.features.downlink.mark import VersionMark
from towline.features.downlink.takeover import Sharing, Wanted, Way
from towline.features.local.child import Child
from towline.features.reference import Reference
from towline.features.state import Narrator
from towline.session import control, runner

ReadyLine = Callable[[dict[str, Any]], str]


def options(modes: Sequence[str], force: str) -> Callable[..., Any]:
    """TARGET and the options for it, of which `modes` may be chosen; `force` is that one's help."""
    mode = "How to take the traffic. Default: selector for services, ephemeral for the rest."
    strict = "Refuse to start unless the programs here listen."
    return together(
        click.argument("target", shell_complete=offers.targets),
        cluster_options,
        expose_option(required=False, extra=" Default: all its ports."),
        click.option("--mode", type=click.Choice(modes), help=mode),
        click.option("--strict", is_flag=True, help=strict),
        click.option("--force", is_flag=True, help=force),
        agent_options,
        output_option,
    )


class Command(command.Command):
    """A command that takes a program with arguments of its own after `--`, as `program`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, up to the `--`."""
        program: list[str] = []
        if "--" in args:
            at = args.index("--")
            args, program = args[:at], args[at + 1 :]
            if not program:
                raise click.UsageError("There is no program after '--'.", ctx)
        ctx.params["program"] = tuple(program)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """As click's, with the program."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM [ARG]...]"]


def run(
    chosen: dict[str, Any],
    ready_line: ReadyLine,
    *,
    copy: bool = False,
    sharing: Sharing | None = None,
    mark: VersionMark | None = None,
) -> int:
    """One session, to its end, as the `options` were chosen; returns its exit code.

    `ready_line` makes of its status what its user is told first. With `sharing` it is one of some
    requests.
    """
    # What a machine reads stays free of what the program says.
    said = sys.stderr.fileno() if chosen["output"] == "json" else None
    with narrator(chosen["output"], aside=bool(chosen["program"])) as tell:
        child = Child(chosen["program"], stdout=said)
        access = permitted_access(chosen["kubeconfig"], chosen["context"], chosen["namespace"])
        wanted = Wanted(
            Reference.parse(chosen["target"]),
            chosen["exposed"],
            strict=chosen["strict"],
            force=chosen["force"],
            copy=copy,
            proxy_protocol=chosen.get("proxy_protocol", False),
            child=child,
            agent=agent_spec(chosen),
            timeout_seconds=chosen["timeout"],
            sharing=sharing,
            mark=mark,
        )
        way = exchange.way(chosen.get("mode"), access, wanted, tell)
        if isinstance(way, Injection):
            note_unused(tell, "the agent is a container of pods that are there already")
        return runner.run(lambda session: _serve(way, tell, ready_line, session))


async def _serve(way: Way, tell: Narrator, ready_line: ReadyLine, session: runner.Session) -> None:
    async with control.listen(way.status, session.stop), way.open():
        session.live()
        status = way.status()
        tell.event("ready", ready_line(status), **status)
        session.result(await way.ended())
