"""A redirect as a process of its own, for tests that kill it: `PORT LISTENER`, then `ready`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from towline.agent.redirect import Redirect, Redirection
from towline.wire.target import Port

if __name__ == "__main__":
    port, listener = map(int, sys.argv[1:])
    try:
        held = Redirect("towline-61000", [Redirection(Port(port), listener)])
    except OSError as error:
        sys.exit(str(error))
    print("ready", flush=True)
    sys.stdin.read()
