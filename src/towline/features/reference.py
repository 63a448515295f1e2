"""What a command is about: `svc/NAME`, `deploy/NAME` and so on, as kubectl has them."""

from __future__ import annotations

from dataclasses import dataclass

from towline.errors import UsageError
from towline.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
    action,
)

_KINDS = {
    "svc": (SERVICES, ("service", "services")),
    "deploy": (DEPLOYMENTS, ("deployment", "deployments")),
    "sts": (STATEFUL_SETS, ("statefulset", "statefulsets")),
    "ds": (DAEMON_SETS, ("daemonset", "daemonsets")),
    "pod": (PODS, ("po", "pods")),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """An object of the session's namespace."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        kind = next(short for short, (resource, _) in _KINDS.items() if resource == self.resource)
        return f"{kind}/{self.name}"

    @classmethod
    def at(cls, path: str) -> Reference | None:
        """The object at a path of the API; None for one of no such kind."""
        found = action("GET", path)
        for resource, _ in _KINDS.values():
            if found.name and (resource.group, resource.plural) == (found.group, found.resource):
                return cls(resource, found.name)
        return None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `NAME`, which is a service, or `KIND/NAME`. Raises UsageError."""
        kind, slash, name = text.rpartition("/")
        for short, (resource, others) in _KINDS.items():
            if (kind or "svc").lower() in (short, *others) and name and (kind or not slash):
                return cls(resource, name)
        raise UsageError(
            f"'{text}' is not something that can be intercepted.",
            "Name a service, or KIND/NAME with one of the kinds " + ", ".join(_KINDS) + ".",
        )
