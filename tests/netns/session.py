"""A session as a process of its own, for tests that end it badly: says `ready`, then serves.

With `--shrug` it goes on when interrupted, with `--terminal` it tells the terminal's settings.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import termios
from ipaddress import ip_address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.netns import cluster
from towline.errors import RedirectError, TowlineError, leading_error


def settings():
    return str(termios.tcgetattr(0)) if "--terminal" in sys.argv else ""


async def main():
    before = settings()
    if "--shrug" in sys.argv:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: print("interrupted", flush=True))
    async with cluster.connected() as it:
        await it.redirect.capture_dns([ip_address("127.0.0.53")], 5353)
        if before:
            print(json.dumps({"before": before, "connected": settings()}), flush=True)
        print("ready", flush=True)
        await it.redirect.lost.wait()
        print("lost", flush=True)
        raise RedirectError("The helper is gone.")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (TowlineError, BaseExceptionGroup) as raised:
        error = raised if isinstance(raised, TowlineError) else leading_error(raised)
        sys.exit(f"{error.summary} {error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
