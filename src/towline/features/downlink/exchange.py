"""The cluster's traffic for a service or a workload, or a copy, for programs of this machine."""

from __future__ import annotations

from functools import partial

from towline.errors import UsageError
from towline.features.downlink import manual, scale, selector
from towline.features.downlink.injection import Injection
from towline.features.downlink.mesh import Mesh
from towline.features.downlink.standin import StandIn
from towline.features.downlink.takeover import Wanted, Way
from towline.features.state import Narrator
from towline.kube.config import Access
from towline.kube.resources import SERVICES

MODES = ("selector", "ephemeral", "scale")
# A copy of what nobody answers would be no mirror.
MIRROR_MODES = ("selector", "ephemeral")


def way(mode: str | None, access: Access, wanted: Wanted, tell: Narrator) -> Way:
    """The way to do what is wanted; by default the one that suits the target.

    Raises UsageError when the mode does not fit the target.
    """
    if wanted.sharing:
        return Mesh(access, wanted, wanted.sharing, tell)
    if wanted.mark:
        return StandIn("manual", manual.prepare, access, wanted, tell)
    of_service = wanted.target.resource == SERVICES
    mode = mode or ("selector" if of_service else "ephemeral")
    if mode == "selector" and of_service:
        return StandIn(mode, selector.prepare, access, wanted, tell)
    if mode == "ephemeral":
        return Injection(access, wanted, tell)
    if mode == "scale":
        scale.refuse_if_unfit(wanted.target, copy=wanted.copy)
        return StandIn(mode, partial(scale.prepare, tell=tell), access, wanted, tell)
    raise UsageError(
        f"{wanted.target} has no selector that could lead elsewhere, as --mode {mode} needs.",
        "Name the service that leads to it, or leave out --mode.",
    )
