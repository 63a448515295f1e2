"""Runs on the laptop: makes it look names up through a systemd-resolved of its own, and connects.

Called with the folder of systemd-resolved, the world's nameserver and `tow`; prints, as JSON, what
`tow check` and `tow connect` say, and what programs get while connected and afterwards.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.netns.resolved import lookup, serving

NAMES = (
    *("web", "web.other-ns", "web.other-ns.svc.cluster.local"),
    *("outside.example", "nosuch.example"),
)


def main(usr, nameserver, tow):
    with serving(usr, settings=f"DNS={nameserver}"):
        checked = subprocess.run([tow, "check", "-o", "json"], capture_output=True, check=False)
        events = []
        argv = [tow, "connect", "-n", "default", "-o", "json"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as session:
            while not events or events[-1]["event"] != "ready":
                events.append(json.loads(session.stdout.readline()))
            connected = {name: lookup(name) for name in NAMES}
            session.terminate()
        said = {
            "check": json.loads(checked.stdout),
            "events": events,
            "connected": connected,
            "afterwards": {name: lookup(name) for name in NAMES},
        }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
