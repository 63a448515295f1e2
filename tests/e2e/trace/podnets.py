"""The nftables rules in the network namespaces of the lab's pods, where there are any."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lab import namespaces, node
from lab.layout import Layout
from tests.e2e.trace import kernel
from tests.e2e.trace.snapshot import View


def view(layout: Layout, *, new_pods: bool = False) -> View:
    """By the namespace's name, which containerd has made up for each pod; without counters.

    With `new_pods` these may be others, with the same rules.
    """
    first = node.first_pid(layout)
    if first is None:
        return {}
    # The node has a mount namespace of its own, in which containerd keeps them.
    folder = Path(f"/proc/{first}/root/run/netns")

    def inside() -> dict[str, str]:
        found = {}
        for name in os.listdir(folder):
            with suppress(OSError):  # the pod has just gone
                namespaces.enter(folder / name, namespaces.Kind.NET)
                found[name] = kernel.run("nft --stateless list ruleset").strip()
        return found

    with ThreadPoolExecutor(max_workers=1) as thread:
        rules = thread.submit(inside).result()
    found = {name: text for name, text in rules.items() if text}
    if not new_pods:
        return found
    return {f"rules {number}": text for number, text in enumerate(sorted(found.values()))}
