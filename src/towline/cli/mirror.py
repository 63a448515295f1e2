"""`tow mirror`: a copy of the requests for a service comes to this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli import intercept
from towline.cli.mesh import match_option, sharing, sharing_options
from towline.cli.output import ways
from towline.errors import UsageError
from towline.features.downlink.exchange import MIRROR_MODES
from towline.routing.rules import Match

EPILOG = """\b
Examples:
  tow mirror web                         what web is asked is said at the same ports here, too
  tow mirror web --expose 8080:80        only what its port 80 is asked, at port 8080 here
  tow mirror web -- ./serve --port 80    by a program that runs meanwhile
  tow mirror web --match header:x-user=ada   only requests that satisfy a rule: see tow mesh --help
"""


@click.command("mirror", cls=intercept.Command, epilog=EPILOG)
@intercept.options(MIRROR_MODES, force="Take the place of whoever has it.")
@match_option(" Others may share the service then. Default: all that is said.")
@sharing_options
def command(**chosen: Any) -> int:
    """Send a copy of the requests for TARGET to programs of this machine.

    TARGET is a service, NAME or svc/NAME, or deploy/NAME, sts/NAME, ds/NAME, pod/NAME. The
    original pods answer all requests as ever, and never wait for a program here; what that
    answers is dropped. No root is needed. Ctrl-C ends it and leaves nothing behind.
    """
    match = [Match.parse(text) for text in chosen["match"]]
    if not match:
        return intercept.run(chosen, _ready_line, copy=True)
    if chosen["mode"] not in (None, MIRROR_MODES[0]):
        raise UsageError(
            f"With --mode {chosen['mode']} nothing tells requests apart: --match needs a router.",
            "Leave out --mode.",
        )
    return intercept.run(chosen, _ready_line, copy=True, sharing=sharing(chosen, match))


def _ready_line(status: dict[str, Any]) -> str:
    rules = " or ".join(status.get("match", ()))
    target = f"{status['target']} in {status['context']}/{status['namespace']}"
    if rules:
        target = f"{target} of {rules}"
    copies = ways(status["exposed"])
    return f"Copies from {target}: {copies}, live in {status['seconds']:.1f} s. Ctrl-C ends it."
