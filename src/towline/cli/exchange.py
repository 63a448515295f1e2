"""`tow exchange`: the cluster's traffic for a service comes to this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli.options import agent_options, cluster_options, expose_option, output_option
from towline.cli.output import narrator, ways
from towline.cluster.job import AgentSpec
from towline.features import exchange
from towline.features.reference import Reference
from towline.features.state import Narrator
from towline.features.takeover import Wanted, Way
from towline.kube.config import load_access
from towline.session import control, runner

EPILOG = """\b
Examples:
  tow exchange web                         what web gets arrives at the same ports here
  tow exchange web --expose 8080:80        only its port 80, at port 8080 here
  tow exchange web --expose 8080:http      the port that the service calls http
"""


@click.command("exchange", epilog=EPILOG)
@click.argument("target")
@cluster_options
@expose_option(required=False, extra=" Default: all its ports.")
@click.option(
    "--mode",
    type=click.Choice(exchange.MODES),
    help="How to take the traffic. Default: selector for services, ephemeral for the rest.",
)
@click.option("--strict", is_flag=True, help="Refuse to start unless the programs here listen.")
@click.option("--force", is_flag=True, help="Take over from whoever has it.")
@agent_options
@output_option
def command(
    target: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    exposed: tuple[str, ...],
    mode: str | None,
    strict: bool,
    force: bool,
    image: str,
    grace: int,
    timeout: float,
    output: str,
) -> int:
    """Answer the requests for TARGET, a service, by programs of this machine.

    The original pods run on, untouched; they answer while no program listens here, when the
    session is gone, and for ports that are not exposed. No root is needed. Ctrl-C ends it and
    leaves nothing behind.
    """
    with narrator(output) as tell:
        access = load_access(kubeconfig_file=kubeconfig, context=context, namespace=namespace)
        wanted = Wanted(
            Reference.parse(target),
            exposed,
            strict=strict,
            force=force,
            copy=False,
            agent=AgentSpec(image=image, grace_seconds=grace),
            timeout_seconds=timeout,
        )
        way = exchange.way(mode, access, wanted, tell)
        return runner.run(lambda session: _serve(way, tell, session))


async def _serve(way: Way, tell: Narrator, session: runner.Session) -> None:
    async with control.listen(way.status, session.stop), way.open():
        session.live()
        status = way.status()
        tell.event("ready", _ready_line(status), **status)
        await way.ended()


def _ready_line(status: dict[str, Any]) -> str:
    target = f"{status['target']} in {status['context']}/{status['namespace']}"
    return (
        f"{target}: {ways(status['exposed'])}, live in {status['seconds']:.1f} s. Ctrl-C ends it."
    )
