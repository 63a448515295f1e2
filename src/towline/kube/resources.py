"""Names of Kubernetes resources and the API paths they live at.

A :class:`Resource` says where objects of one kind are; :func:`action` reads a request's path
back into the words that RBAC and error messages use.
See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

#: One Kubernetes object as JSON has it.
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type: its API group ("" is the core group), version and plural name."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The API path of one object, or of the collection when `name` is empty.

        `namespace` None with a namespaced resource is the collection over all namespaces.
        Raises ValueError for a combination that no path exists for.
        """
        if namespace is not None and not self.namespaced:
            raise ValueError(f"{self.plural} live in no namespace, but {namespace!r} was given")
        if name and self.namespaced and namespace is None:
            raise ValueError(f"{self.plural} {name!r} needs a namespace")
        if subresource and not name:
            raise ValueError(f"the subresource {subresource!r} of {self.plural} needs a name")
        root = ["apis", self.group] if self.group else ["api"]
        parts = [*root, self.version]
        if namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)


CONFIG_MAPS = Resource("", "v1", "configmaps")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False)
DAEMON_SETS = Resource("apps", "v1", "daemonsets")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
EVENTS = Resource("", "v1", "events")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
IP_ADDRESSES = Resource("networking.k8s.io", "v1", "ipaddresses", namespaced=False)
JOBS = Resource("batch", "v1", "jobs")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
NODES = Resource("", "v1", "nodes", namespaced=False)
PODS = Resource("", "v1", "pods")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
SECRETS = Resource("", "v1", "secrets")
SELF_SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False
)
SERVICES = Resource("", "v1", "services")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
SERVICE_CIDRS = Resource("networking.k8s.io", "v1", "servicecidrs", namespaced=False)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")


@dataclass(frozen=True, slots=True)
class Action:
    """What a request does, in RBAC's words; `resource` is "" for paths that name none."""

    verb: str
    path: str
    resource: str = ""
    group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def deed(self) -> str:
        """For sentences that have named the place: `create pods/portforward`."""
        if not self.resource:
            return f"{self.verb} {self.path}"
        return f"{self.verb} {self.resource}" + (f"/{self.subresource}" if self.subresource else "")

    def __str__(self) -> str:
        """For sentences: `create pods/portforward in the namespace dev`."""
        return self.deed + (f" in the namespace {self.namespace}" if self.namespace else "")


def action(method: str, path: str, *, watch: bool = False) -> Action:
    """Read a request's method and API path (without a server's prefix) as RBAC would."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) >= 3 and parts[0] == "api":
        group, rest = "", parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, rest = parts[1], parts[3:]
    else:
        return Action(verb=method.lower(), path=path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = [*rest, "", ""][:3]
    return Action(
        verb=_verb(method, named=bool(name), watch=watch),
        path=path,
        resource=resource,
        group=group,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


# Subresources of a namespace itself, which look like resources inside one.
_OF_NAMESPACES = ("status", "finalize")

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def _verb(method: str, *, named: bool, watch: bool) -> str:
    if method == "GET":
        return "get" if named else "watch" if watch else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return _VERBS.get(method, method.lower())


def _segment(text: str) -> str:
    """One path segment, which must not be able to climb or split the path."""
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} cannot name an object")
    return quote(text, safe="")
