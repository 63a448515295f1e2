"""`make demo`: the main job, for real, command by command as a user would type them.

On the lab, or with KUBECONFIG set on the user's own cluster and machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.cluster import Lab
from lab.errors import LabError
from lab.images import PYTHON_IMAGE

Run = Callable[[str], int]

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
    if os.environ.get("KUBECONFIG"):
        return _show(OWN_CLUSTER, lambda line: subprocess.call(line, shell=True))
    lab = Lab()
    try:
        lab.up()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    run = _on_laptop(lab, {**os.environ, "TOW_IMAGE": PYTHON_IMAGE, "PATH": _path()})
    try:
        return _show(LAB, run)
    finally:
        print("\nThe lab stays up: 'uv run lab exec laptop -- bash' to try more, 'make lab-down'.")


def _on_laptop(lab: Lab, environment: Mapping[str, str]) -> Run:
    def run(line: str) -> int:
        with lab.popen_in_laptop(["sh", "-c", line], env=dict(environment)) as process:
            return process.wait()

    return run


def _show(steps: Sequence[tuple[str, str]], run: Run) -> int:
    """Run the steps one by one; stop at the first whose outcome is not the expected one."""
    for words, line in steps:
        print(f"\n\x1b[1m{words}\x1b[0m" if sys.stdout.isatty() else f"\n{words}")
        print(f"$ {line}", flush=True)
        if (run(line) == 0) is (line in FAILS):
            print("That was not to be expected.", file=sys.stderr)
            return 1
    return 0


def _path() -> str:
    """The PATH with this environment's `tow` first."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"


if __name__ == "__main__":
    sys.exit(main())
