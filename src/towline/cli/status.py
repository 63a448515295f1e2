"""`tow status`: the running sessions of this machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from towline.cli.command import Command
from towline.cli.options import output_option
from towline.cli.output import forwards, ways
from towline.cli.redrawing import nobody_reads, redrawing
from towline.features.findings import some
from towline.features.first import first
from towline.session import control, runner

# So often with --watch; rates are those of that time.
AGAIN_SECONDS = 2.0

EPILOG = """\b
Examples:
  tow status                    what runs, and how it is doing
  tow status --watch            the same again and again, with rates
  tow status -o json            all that is known of each, for a program to read
"""

Session = Mapping[str, Any]


@click.command("status", cls=Command, epilog=EPILOG)
@click.option("-w", "--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@output_option
def command(watch: bool, output: str) -> int:
    """Show the running sessions of this machine, and how they are doing.

    The first line of each begins with its process id, which `tow disconnect` takes.
    """
    if watch:
        return runner.run(lambda session: _watch(session, output))
    click.echo(_picture(_look(), {}, output))
    return 0


def _look() -> dict[int, Session]:
    return {pid: found for pid in control.find() if (found := control.status(pid))}


async def _watch(session: runner.Session, output: str) -> None:
    """Show it again and again, until nobody looks any more."""
    session.live()
    with redrawing(in_place=output == "text") as show:
        await first(_show(output, show), nobody_reads())


async def _show(output: str, show: Callable[[str], None]) -> None:
    before, looked = await asyncio.to_thread(_look), time.monotonic()
    show(_picture(before, {}, output))
    while True:
        await asyncio.sleep(AGAIN_SECONDS)
        now, seconds = await asyncio.to_thread(_look), time.monotonic() - looked
        rates = {pid: _rates(before.get(pid, {}), each, seconds) for pid, each in now.items()}
        before, looked = now, looked + seconds
        show(_picture(now, rates, output))


def _rates(before: Session, now: Session, seconds: float) -> dict[str, float]:
    """Bytes in a second that came and went meanwhile, if both are known."""
    return {
        what: (now[what] - before[what]) / seconds
        for what in ("received", "sent")
        if what in now and what in before
    }


def _picture(
    sessions: Mapping[int, Session], rates: Mapping[int, Mapping[str, float]], output: str
) -> str:
    if output == "json":
        return json.dumps(list(sessions.values()))
    if not sessions:
        return "No session is running."
    return "\n".join(
        line for pid, session in sessions.items() for line in _lines(session, rates.get(pid, {}))
    )


def _lines(session: Session, rates: Mapping[str, float]) -> list[str]:
    where = f"{session['context']}/{session['namespace']}"
    head = (session["pid"], session["command"], session["state"], where)
    about = (f"since {session['since']}", _what(session))
    lines = ["  ".join(map(str, (*head, *about))) + _losses(session)]
    if waiting := session.get("waiting"):
        lines.append(f"    {waiting[0].lower()}{waiting[1:]}")
    if "received" in session:
        lines.append(f"    {_traffic(session, rates)}")
    if others := session.get("shared_with"):
        told = [f"{each['who']} ({each['command']})" for each in others]
        lines.append(f"    agent shared with {some(told, ', ')}")
    if lookups := session.get("dns", {}).get("lookups"):
        lines.append(f"    {lookups} lookups{_outcomes(session['dns'])}")
    return lines


def _traffic(session: Session, rates: Mapping[str, float]) -> str:
    """How much goes through its link, and how quickly."""
    flows = f"{session['streams']} flow{'' if session['streams'] == 1 else 's'}"
    parts = [flows]
    for what in ("received", "sent"):
        rate = f" ({_amount(rates[what])}/s)" if what in rates else ""
        parts.append(f"{what} {_amount(session[what])}{rate}")
    if session["round_trip"] is not None:
        parts.append(f"round trip {session['round_trip'] * 1000:.1f} ms")
    way = {"api": "through the API", "direct": "direct"}.get(session["transport"])
    return ", ".join([*parts, *([way] if way else [])])


def _outcomes(counts: Mapping[str, int]) -> str:
    """What became of lookups, those in order aside."""
    named = {"nxdomain": "of names that nobody has", "failed": "in vain"}
    told = [f"{counts[what]} {words}" for what, words in named.items() if counts.get(what)]
    asked = [
        f"{counts[what]} questions to {whom}"
        for what, whom in (("cluster", "the cluster"), ("upstream", "this machine's nameservers"))
        if counts.get(what)
    ]
    kept = [f"{counts['cached']} answers kept from before"] if counts.get("cached") else []
    return "".join(f", {each}" for each in [*told, *asked, *kept])


def _amount(size: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _losses(session: Session) -> str:
    """How often its link was lost, and why last."""
    failure = session.get("failure")
    if failure is None:
        return ""
    often = f"{session['reconnects']} times" if session["reconnects"] != 1 else "once"
    return f"  reconnected {often}; {failure['at']}: {failure['reason']}"


def _what(session: Session) -> str:
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
