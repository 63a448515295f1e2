"""`tow mirror`: a copy of the requests for a service comes to this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli import intercept
from towline.cli.output import ways
from towline.features.downlink.exchange import MIRROR_MODES

EPILOG = """\b
Examples:
  tow mirror web                         what web is asked is said at the same ports here, too
  tow mirror web --expose 8080:80        only what its port 80 is asked, at port 8080 here
  tow mirror web -- ./serve --port 80    by a program that runs meanwhile
"""


@click.command("mirror", cls=intercept.Command, epilog=EPILOG)
@intercept.options(MIRROR_MODES, force="Take the place of whoever has it.")
def command(**chosen: Any) -> int:
    """Send a copy of the requests for TARGET to programs of this machine.

    TARGET is a service, NAME or svc/NAME, or deploy/NAME, sts/NAME, ds/NAME, pod/NAME. The
    original pods answer all requests as ever, and never wait for a program here; what that
    answers is dropped. No root is needed. Ctrl-C ends it and leaves nothing behind.
    """
    return intercept.run(chosen, _ready_line, copy=True)


def _ready_line(status: dict[str, Any]) -> str:
    target = f"{status['target']} in {status['context']}/{status['namespace']}"
    copies = ways(status["exposed"])
    return f"Copies from {target}: {copies}, live in {status['seconds']:.1f} s. Ctrl-C ends it."
