"""Runs the agent: `python -m towline.agent --port 7070 --grace-seconds 60`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from towline.agent.intercept import Intercepted
from towline.agent.server import serve


def main() -> int:
    """Run until the client is gone for the grace time, a SIGTERM, or the session's goodbye."""
    parser = argparse.ArgumentParser(prog="towline-agent", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=60.0,
        help="how long to wait for a client, the first one too",
    )
    parser.add_argument(
        "--intercept",
        type=Intercepted.parse,
        action="append",
        default=[],
        metavar="PORT[=HOST:PORT]",
        help="listen on a port for whoever claims it; without a claim connections go to HOST:PORT",
    )
    options = parser.parse_args()
    return asyncio.run(serve(options.port, options.grace_seconds, options.intercept))


if __name__ == "__main__":
    sys.exit(main())
