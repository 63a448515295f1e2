"""`tow mesh`: some of the requests for a service come to this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from towline.cli import intercept, offers
from towline.cli.agentoptions import agent_options
from towline.cli.options import (
    Decorator,
    cluster_options,
    expose_option,
    output_option,
    together,
)
from towline.cli.output import ways
from towline.cli.schema import Checked
from towline.cluster.job import owner_name
from towline.errors import UsageError
from towline.features.downlink.mark import VersionMark
from towline.features.downlink.takeover import Sharing
from towline.routing import envoy
from towline.routing.rules import Match, default_match, version_mark

MODES = ("router", "manual")

EPILOG = """\b
Examples:
  tow mesh web                                     requests with 'x-tow: YOUR NAME' come here
  tow mesh web --match header:x-user=ada           those with another header
  tow mesh web --match 'path^=/api/,method=POST'   those that satisfy both rules
  tow mesh web --match cookie:beta --match host=beta.example   either of them
  tow mesh web --expose 8080:80                    port 8080 here, for the service's port 80
  tow mesh web -- ./serve --port 80                by a program that runs meanwhile
  tow mesh web --mode manual --version-mark version:ada   one more pod, for the rules of Istio

\b
Rules:
  PLACE=VALUE exactly, ^= begins with, *= contains, ~= regular expression (RE2, of all of it)
  PLACE is header:NAME, cookie:NAME, query:NAME, path, method or host
  the first three alone: whatever its value; a comma in a value is written '\\,'
"""


def match_option(extra: str) -> Decorator:
    """Which requests are wanted."""
    return click.option(
        "--match",
        "match",
        cls=Checked,
        check=lambda texts: [Match.parse(text) for text in texts],
        multiple=True,
        metavar="RULE[,RULE]…",
        help="Which requests: those that satisfy all the rules, of one of several --match." + extra,
    )


sharing_options: Decorator = together(
    click.option(
        "--priority",
        type=int,
        default=0,
        show_default=True,
        help="Whose rules win where they overlap: those of the higher number.",
    ),
    click.option(
        "--tls-secret",
        metavar="NAME",
        help="Secret with the service's certificate: the router ends TLS with it.",
    ),
    click.option(
        "--router-image",
        default=envoy.DEFAULT_IMAGE,
        show_default=True,
        help="Image of the router: any with Envoy.",
    ),
)


def sharing(chosen: dict[str, Any], match: Iterable[Match]) -> Sharing:
    """What the options say."""
    return Sharing(
        tuple(match), chosen["priority"], chosen["tls_secret"] or "", chosen["router_image"]
    )


@click.command("mesh", cls=intercept.Command, epilog=EPILOG)
@click.argument("target", shell_complete=offers.targets)
@cluster_options
@match_option(" Default: header:x-tow=YOUR NAME.")
@click.option(
    "--version-mark",
    cls=Checked,
    check=version_mark,
    metavar="KEY:VALUE",
    help="The same as --match header:KEY=VALUE; with --mode manual the label of the pod.",
)
@expose_option(required=False, extra=" Default: all its ports that say they speak HTTP.")
@sharing_options
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default=MODES[0],
    show_default=True,
    help="Who tells the requests apart: a router of tow's, or the rules of your service mesh.",
)
@click.option("--strict", is_flag=True, help="Refuse to start unless the programs here listen.")
@click.option(
    "--force",
    is_flag=True,
    help="End the exchange, or the parts with rules that overlap, of others.",
)
@agent_options
@output_option
def command(**chosen: Any) -> int:
    """Answer those requests for the service TARGET that RULEs tell by programs of this machine.

    All others go to the original pods, or to whoever else takes part, each with rules of their
    own. The original pods answer also while no program listens here, or when the session is gone;
    such responses have the header x-towline. Ports that do not speak HTTP pass untouched. No root
    is needed. Ctrl-C ends it and leaves nothing behind.

    With --mode manual nothing is changed: there is one more pod of TARGET, which may be a workload,
    too. Rules of a service mesh lead requests to it by its label, the version mark.
    """
    if chosen["mode"] == "manual":
        return _manual(chosen)
    match = [Match.parse(text) for text in chosen["match"]]
    if chosen["version_mark"]:
        match.append(version_mark(chosen["version_mark"]))
    if not match:
        match.append(default_match(owner_name().partition("@")[0]))
    return intercept.run(chosen, _ready_line, copy=False, sharing=sharing(chosen, match))


def _manual(chosen: dict[str, Any]) -> int:
    """One session of a pod with the version mark."""
    for name in ("match", "tls_secret"):
        if chosen[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is for the router, which --mode manual has none of.",
                "Say in your service mesh's own rules which requests go to the pod.",
            )
    mark = VersionMark.parse(chosen["version_mark"] or "", owner_name())

    def ready_line(status: dict[str, Any]) -> str:
        target = f"{status['target']} in {status['context']}/{status['namespace']}"
        return (
            f"{target}: a pod with the label {mark}, {ways(status['exposed'])}, live in "
            f"{status['seconds']:.1f} s. Ctrl-C ends it."
        )

    return intercept.run(chosen, ready_line, mark=mark)


def _ready_line(status: dict[str, Any]) -> str:
    target = f"{status['target']} in {status['context']}/{status['namespace']}"
    rules = " or ".join(status["match"])
    seconds = f"live in {status['seconds']:.1f} s. Ctrl-C ends it."
    lines = [f"{target}: {rules} at {ways(status['exposed'])}, {seconds}"]
    if status["curl"]:
        lines.append(f"In the cluster, or with 'tow connect': {status['curl']}")
    lines += [f"Port {each}." for each in status["spoken"]]
    if status["untouched"]:
        lines.append(f"Untouched: {', '.join(status['untouched'])}.")
    return "\n".join(lines)
