"""`make demo`: the main job, for real, command by command as a user would type them.

On the lab, or with KUBECONFIG set on the user's own cluster and machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from lab import laptop
from lab.cluster import Lab
from lab.errors import LabError
from lab.images import FOR_TOW

# Starts a command line of the shell; takes subprocess.Popen's options, too.
Start = Callable[..., subprocess.Popen[Any]]

OURS = "-l app.kubernetes.io/managed-by=towline"
LAB = (
    ("A name of the cluster means nothing here yet.", "curl -sS -m 3 http://web"),
    ("One command …", "tow connect --detach"),
    ("… and every service answers to its name, as in a pod:", "curl -sS http://web"),
    ("in other namespaces, too,", "curl -sS http://web.other-ns"),
    ("over IPv6,", "curl -6 -sS http://web.other-ns.svc.cluster.local"),
    ("and pods of headless services.", "curl -sS http://db-0.db:8080"),
    ("connect() tells the truth: this port is closed,", "curl -sS -m 3 http://sample:7999"),
    ("and this name does not exist.", "curl -sS -m 3 http://nothing-there"),
    ("What runs:", "tow status"),
    ("The end:", "tow disconnect"),
    ("Nothing is left, here …", "ip -brief link; nft list ruleset"),
    (
        "… or, a few seconds later, in the cluster.",
        f"kubectl wait --for=delete pods {OURS} --timeout=30s; kubectl get jobs,pods -A {OURS}",
    ),
)
# What must fail for the demo to be true.
FAILS = {line for _, line in (LAB[0], LAB[6], LAB[7])}
OWN_CLUSTER = (
    ("What would not work here?", "tow check"),
    ("One command …", "tow connect --detach"),
    ("… and the cluster's services answer to their names:", "getent hosts kubernetes.default.svc"),
    ("", "curl -sSk -m 5 https://kubernetes.default.svc/version"),
    ("The end:", "tow disconnect"),
)


def main() -> int:
    """Show the main job; 1 when a step that should work does not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    if os.environ.get("KUBECONFIG"):
        return show(OWN_CLUSTER, partial(subprocess.Popen, shell=True))
    lab = Lab()
    try:
        lab.up()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    environment = {**laptop.own_environment(), "PATH": _path(), **FOR_TOW}

    def start(line: str, **options: Any) -> subprocess.Popen[Any]:
        return lab.popen_in_laptop(["sh", "-c", line], env=environment, **options)

    try:
        return show(LAB, start)
    finally:
        print("\nThe lab stays up: 'uv run lab exec laptop -- bash' to try more, 'make lab-down'.")


def show(steps: Iterable[tuple[str, str]], start: Start) -> int:
    """Run the steps one by one; stop at the first whose outcome is not the expected one.

    No session is left, whatever ends this.
    """
    if _is_session_running(start):
        print("A session is running already: 'tow disconnect' ends it.", file=sys.stderr)
        return 1
    try:
        for words, line in steps:
            print(f"\n\x1b[1m{words}\x1b[0m" if _is_coloured() else f"\n{words}")
            print(f"$ {line}", flush=True)
            if (_run(start(line)) == 0) is (line in FAILS):
                print("That was not to be expected.", file=sys.stderr)
                return 1
        return 0
    finally:
        _disconnect(start)


def _run(process: subprocess.Popen[Any]) -> int:
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _is_session_running(start: Start) -> bool:
    with start("tow status --output json", stdout=subprocess.PIPE, text=True) as process:
        sessions, _ = process.communicate()
    return bool(process.returncode == 0 and json.loads(sessions))


def _disconnect(start: Start) -> None:
    """End the session if there still is one; that takes a bounded time, and is not cut short."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Ctrl-C does not reach it in a session (setsid(2)) of its own.
    start("tow disconnect --all", start_new_session=True).wait()


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _path() -> str:
    """The PATH with this environment's `tow` first."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"


if __name__ == "__main__":
    sys.exit(main())
