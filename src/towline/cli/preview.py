"""`tow preview`: a new service in the cluster for a port of this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli.access import permitted_access
from towline.cli.agentoptions import agent_options, agent_spec
from towline.cli.command import Command
from towline.cli.options import (
    cluster_options,
    expose_option,
    output_option,
    proxy_protocol_option,
)
from towline.cli.output import narrator, ways
from towline.features.downlink.preview import Preview, PreviewOptions
from towline.features.local import expose
from towline.features.state import Narrator
from towline.session import control, runner

EPILOG = """\b
Examples:
  tow preview web-alice --expose 8080:80   http://web-alice in the cluster is localhost:8080 here
  tow preview api --expose 3000,9090       the same two ports there and here
  tow preview dns --expose 5353:53/udp     datagrams, too
"""


@click.command("preview", cls=Command, epilog=EPILOG)
@click.argument("name")
@cluster_options
@expose_option(required=True)
@click.option("--external", is_flag=True, help="Reachable from outside, by a LoadBalancer.")
@proxy_protocol_option
@agent_options
@output_option
def command(name: str, **chosen: Any) -> int:
    """Give a program of this machine a service NAME of its own in the cluster.

    What connects to the service there arrives at the program here. No root is needed. Ctrl-C
    ends it and leaves nothing behind.
    """
    with narrator(chosen["output"]) as tell:
        access = permitted_access(chosen["kubeconfig"], chosen["context"], chosen["namespace"])
        options = PreviewOptions(
            name,
            expose.parse(chosen["exposed"]),
            chosen["external"],
            chosen["proxy_protocol"],
            agent_spec(chosen),
            chosen["timeout"],
        )
        preview = Preview(access, options, tell)
        return runner.run(lambda session: _serve(preview, tell, session))


async def _serve(preview: Preview, tell: Narrator, session: runner.Session) -> None:
    async with control.listen(preview.status, session.stop), preview.open():
        session.live()
        status = preview.status()
        tell.event("ready", _ready_line(status), **status)
        await preview.ended()


def _ready_line(status: dict[str, Any]) -> str:
    name = f"{status['service']}.{status['namespace']}"
    led = ways(status["exposed"], f"{name}:")
    return f"In {status['context']}: {led} ({', '.join(status['addresses'])}). Ctrl-C ends it."
