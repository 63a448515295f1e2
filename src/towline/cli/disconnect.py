"""`tow disconnect`: end a running session."""

from __future__ import annotations

import click

from towline.cli import offers
from towline.cli.command import Command
from towline.cli.options import output_option
from towline.cli.output import print_json
from towline.errors import SessionError, UsageError
from towline.session import control

EPILOG = """\b
Examples:
  tow disconnect                the session that runs
  tow disconnect 4711           one of several, by its process id
  tow disconnect --all          every one of yours
"""

END_SECONDS = 20.0


@click.command("disconnect", cls=Command, epilog=EPILOG)
@click.argument("pid", type=int, required=False, shell_complete=offers.sessions)
@click.option("--all", "everything", is_flag=True, help="End every session of yours.")
@output_option
def command(pid: int | None, everything: bool, output: str) -> None:
    """End the session PID, or the only one that is running.

    Returns when it is gone. `tow status` lists the process ids.
    """
    for target in _targets(pid, everything):
        if not control.stop(target, END_SECONDS):
            raise SessionError(
                f"Session {target} has not ended within {END_SECONDS:.0f} seconds.",
                f"'kill -9 {target}' ends it for certain and leaves nothing behind.",
            )
        if output == "json":
            print_json({"event": "ended", "pid": target})
        else:
            click.echo(f"Session {target} has ended.")


def _targets(pid: int | None, everything: bool) -> list[int]:
    running = control.find()
    if pid is not None and everything:
        raise UsageError("Either a PID or --all, not both.")
    if everything or (pid is None and len(running) == 1):
        return running
    if pid in running:
        return [pid]
    if not running:
        raise SessionError("No session is running.", "'tow connect' starts one.")
    names = ", ".join(map(str, running))
    if pid is None:
        raise UsageError(f"Several sessions are running: {names}.", "Name one, or use --all.")
    raise SessionError(f"There is no session {pid}.", f"Running: {names}. See 'tow status'.")
