"""Runs the agent: `python -m towline.agent --port 7070 --grace-seconds 60`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import sys
from pathlib import Path

from towline.agent.intercept import Intercepted, Redirecting
from towline.agent.kubelet import Kubelet, gateways, parse_probed
from towline.agent.routing import parse as parse_routed
from towline.agent.server import DRAINING, FIRST_SECONDS, Draining, Routed, serve
from towline.agent.sidecar import quit_sidecar
from towline.agent.undoing import Changed


def main() -> int:
    """Run until the client is gone for the grace time, a SIGTERM, or the session's goodbye."""
    it = _parser().parse_args()
    draining = Draining(it.quiet_seconds, it.drain_seconds)
    redirecting = None
    if it.redirect or it.port is None:
        _be_expendable()
    if it.redirect:
        # A sidecar has the kubelet's probes come from there as well.
        kubelet = Kubelet(gateways().union(it.node, it.behind), dict(it.probed))
        redirecting = Redirecting(f"towline-{it.port}", kubelet, tuple(it.behind))
    try:
        code = asyncio.run(
            serve(
                it.port,
                it.grace_seconds,
                it.intercept,
                it.undo,
                draining,
                redirecting,
                Routed(*it.router) if it.router else None,
                first_seconds=it.first_seconds,
                shared=it.shared,
            )
        )
    except OSError as error:
        return _complain(error)
    if it.quit_sidecar and code == 0:
        quit_sidecar()
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="towline-agent", description=__doc__)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--port", type=int, help="TCP port on 127.0.0.1")
    way.add_argument(
        "--stdio", action="store_true", help="serve by input and output instead, until they end"
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=60.0,
        help="how long to wait for a client that is gone",
    )
    parser.add_argument(
        "--first-seconds",
        type=float,
        default=FIRST_SECONDS,
        help="how long to wait for the first one, unless the grace time is longer",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="serve any number of sessions, each for itself, until the last one is gone",
    )
    parser.add_argument(
        "--intercept",
        type=Intercepted.parse,
        action="append",
        default=[],
        metavar="PORT[=[HOST]:PORT]",
        help="listen on a port for whoever claims it; without a claim connections go to HOST:PORT,"
        " without HOST to this pod itself",
    )
    parser.add_argument(
        "--undo",
        type=Changed.parse,
        metavar="JSON",
        help='what to undo when the client is gone: {"path": of the object, "record": {...}}',
    )
    _add_draining(parser)
    _add_router(parser)
    _add_redirect(parser)
    return parser


def _add_draining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quiet-seconds",
        type=float,
        default=DRAINING.quiet_seconds,
        help="how long nothing must come before an agent ends that passes connections on",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=DRAINING.longest_seconds,
        help="after how long it ends although there are connections",
    )


def _add_router(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--router",
        type=parse_routed,
        metavar="JSON",
        help='a router in another container: {"folder": shared with it, "files": {"name": "…"}}',
    )
    parser.add_argument(
        "--quit-sidecar",
        action="store_true",
        help="at the end, ask a sidecar of Istio to end: the pod would go on for it",
    )


def _add_redirect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redirect",
        action="store_true",
        help="redirect the ports instead of listening on them: another container does",
    )
    parser.add_argument(
        "--node",
        type=ipaddress.ip_address,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="from where the kubelet probes this pod, besides its default gateway",
    )
    parser.add_argument(
        "--behind",
        type=ipaddress.ip_address,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="from where a sidecar of this pod connects to its programs, to redirect that",
    )
    parser.add_argument(
        "--probed",
        type=parse_probed,
        action="append",
        default=[],
        metavar="PORT=http|other",
        help="a port that it probes: by requests that are told by their header, or by anything",
    )


def _be_expendable() -> None:
    """Be the first that the kernel ends when the memory of somebody else's pod is short.

    Traffic then goes to its own programs: see proc_pid_oom_score_adj(5).
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _complain(error: OSError) -> int:
    """Say in one line, which becomes the container's message, why the agent cannot work."""
    print(error.strerror or error, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
