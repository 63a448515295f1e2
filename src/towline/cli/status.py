"""`tow status`: the running sessions of this machine."""

from __future__ import annotations

from typing import Any

import click

from towline.cli.command import Command
from towline.cli.options import output_option
from towline.cli.output import forwards, print_json, ways
from towline.features.findings import some
from towline.session import control

EPILOG = """\b
Examples:
  tow status                    one line a session
  tow status -o json            all that is known of each, for a program to read
"""


@click.command("status", cls=Command, epilog=EPILOG)
@output_option
def command(output: str) -> None:
    """Show the running sessions of this machine, and how they are doing.

    Each line names the session's process id, which `tow disconnect` takes.
    """
    sessions = [found for pid in control.find() if (found := control.status(pid))]
    if output == "json":
        print_json(sessions)
    elif not sessions:
        click.echo("No session is running.")
    for session in sessions if output == "text" else ():
        click.echo(_line(session))


def _line(session: dict[str, Any]) -> str:
    return (
        f"{session['pid']}  {session['command']}  {session['state']}"
        f"  {session['context']}/{session['namespace']}  since {session['since']}  {_what(session)}"
        f"{_losses(session)}"
    )


def _losses(session: dict[str, Any]) -> str:
    """How often its link was lost, and why last."""
    failure = session["failure"]
    if failure is None:
        return ""
    often = f"{session['reconnects']} times" if session["reconnects"] != 1 else "once"
    return f"  reconnected {often}; {failure['at']}: {failure['reason']}"


def _what(session: dict[str, Any]) -> str:
    """What it makes reachable."""
    if "listening" in session:
        return (
            f"{'everything' if session['everything'] else 'the cluster'} by {session['listening']}"
        )
    if "ranges" in session:
        ranges = some(map(str, session["ranges"]), ", ") or "no ranges yet"
        return ranges + ("" if session.get("echoes", True) else "; the agent may not ping")
    if "forwarded" in session:
        return f"{session['target']}: {forwards(session['forwarded'])}"
    what = session.get("service") or session.get("target", "")
    rules = " or ".join(session.get("match", ()))
    return f"{what}{f', {rules}' if rules else ''}: {ways(session.get('exposed', ()))}"
