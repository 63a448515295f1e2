"""Bringing a lab up and taking it down, in the order in which its parts need one another."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from lab import (
    cgroups,
    components,
    images,
    laptop,
    network,
    node,
    objects,
    pki,
    programs,
    progress,
    users,
)
from lab.components import Component
from lab.errors import LabError
from lab.layout import Layout
from lab.locks import locked

_COMPONENT_SECONDS = 120
_TOOLS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
}


def up(layout: Layout) -> None:
    """Bring it up, or repair what is not as it should be; return when all of it is ready."""
    demand_root()
    _demand_tools()
    started = time.monotonic()
    with changing(layout):
        programs.ensure_built()
        archive = images.archive()
        _furnish(layout)
        _start(layout, components.etcd(layout), components.containerd(layout))
        _start(layout, components.world_dns(layout), components.api_server(layout))
        changed = images.load(layout, archive)
        _start(
            layout,
            components.controller_manager(layout),
            components.scheduler(layout),
            components.kubelet(layout),
            components.kube_proxy(layout),
        )
        objects.ensure(layout, restart=changed)
    progress.say(f"Lab {layout.name} is up after {time.monotonic() - started:.1f} s.")


def down(layout: Layout) -> None:
    """Remove all of it: processes, mounts, namespaces, interfaces, cgroups, files."""
    with changing(layout):
        node.switch_off(layout)
        node.end_visitors(layout)
        network.remove(layout)
        cgroups.remove(layout)
        shutil.rmtree(layout.state, ignore_errors=True)
        layout.lock.unlink()
    progress.say(f"Lab {layout.name} is down.")


def start_component(layout: Layout, component: Component) -> None:
    """Start one component unless it runs; return when it is ready."""
    with changing(layout):
        _start(layout, component)


@contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Keeps others from changing the lab meanwhile. Raises LabError for anybody but root."""
    demand_root()
    with locked(layout.lock, f"Somebody else is changing lab {layout.name}; waiting for it."):
        yield


def demand_root() -> None:
    """Raises LabError for anybody but root."""
    if os.geteuid() != 0:
        raise LabError("The lab makes namespaces and runs containers, and for that needs root.")


def _demand_tools() -> None:
    packages = {package for tool, package in _TOOLS.items() if shutil.which(tool) is None}
    if packages:
        raise LabError(
            f"Missing on this machine: {', '.join(sorted(packages))}. Install them, or let 'make' "
            "do it."
        )


def _furnish(layout: Layout) -> None:
    """All that has to be there before the first component."""
    layout.state.mkdir(parents=True, exist_ok=True)
    programs.link(layout)
    pki.ensure(layout)
    users.ensure_masters(layout)
    laptop.furnish(layout)
    network.ensure(layout)
    node.switch_on(layout)


def _start(layout: Layout, *wanted: Component) -> None:
    """Start these together, and wait for each."""
    for component in wanted:
        components.ensure_running(layout, component)
    for component in wanted:
        progress.wait_for(
            component.name,
            partial(components.is_ready, layout, component),
            _COMPONENT_SECONDS,
            f"See {layout.logs}/{component.name}.log.",
        )
