"""`tow exchange`: the cluster's traffic for a service comes to this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli import intercept
from towline.cli.options import proxy_protocol_option
from towline.cli.output import ways
from towline.features.downlink.exchange import MODES

EPILOG = """\b
Examples:
  tow exchange web                         what web gets arrives at the same ports here
  tow exchange web --expose 8080:80        only its port 80, at port 8080 here
  tow exchange web --expose 8080:http      the port that the service calls http
  tow exchange web -- ./serve --port 80    the same, by a program that runs meanwhile
  tow exchange deploy/web --expose 8080    what each pod of a workload gets, now and later
"""


@click.command("exchange", cls=intercept.Command, epilog=EPILOG)
@intercept.options(MODES, force="Take over from whoever has it.")
@proxy_protocol_option
def command(**chosen: Any) -> int:
    """Answer the requests for TARGET by programs of this machine.

    TARGET is a service, NAME or svc/NAME, or deploy/NAME, sts/NAME, ds/NAME, pod/NAME. The
    original pods run on, untouched; they answer while no program listens here, when the session
    is gone, and for ports that are not exposed. With --mode scale they are stopped instead. No
    root is needed. Ctrl-C ends it and leaves nothing behind.
    """
    return intercept.run(chosen, _ready_line, copy=False)


def _ready_line(status: dict[str, Any]) -> str:
    target = f"{status['target']} in {status['context']}/{status['namespace']}"
    return (
        f"{target}: {ways(status['exposed']) or 'stopped'}, live in {status['seconds']:.1f} s. "
        "Ctrl-C ends it."
    )
