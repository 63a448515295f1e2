"""All objects of a cluster, of every kind that its API can list, without what changes by itself."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tests.e2e.trace.essence import essence, title
from tests.e2e.trace.snapshot import View

# Events tell what happened, and leases that somebody is still there: both come and go by
# themselves, whatever a user does. Component statuses are no objects but probes made on request.
_IGNORED = frozenset(
    {
        ("", "events"),
        ("events.k8s.io", "events"),
        ("coordination.k8s.io", "leases"),
        ("", "componentstatuses"),
    }
)
# https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_TRIES = 20
_TRY_AGAIN_SECONDS = 0.5

Get = Callable[[str, str], Mapping[str, Any]]
"""What GET of a path with an Accept header answers, decoded."""


@dataclass(frozen=True)
class Kind:
    """A kind that can be listed."""

    group: str
    version: str
    plural: str

    @property
    def path(self) -> str:
        """Where all of its objects are listed."""
        prefix = f"/apis/{self.group}" if self.group else "/api"
        return f"{prefix}/{self.version}/{self.plural}"

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def view(get: Get, *, new_pods: bool = False) -> View:
    """Every object, each with all but what changes by itself; see
    :mod:`tests.e2e.trace.essence`. Those that go by the same name are listed together.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for kind in kinds(get):
        for item in get(kind.path, "application/json").get("items") or ():
            name = title(kind.name, item, new_pods=new_pods)
            found[name].append(essence(kind.name, item, new_pods=new_pods))
    return {name: "\n".join(sorted(texts)) for name, texts in found.items()}


def kinds(get: Get) -> list[Kind]:
    """The kinds that can be listed, each once: in its group's preferred version that has it."""
    found: dict[tuple[str, str], Kind] = {}
    for root in ("/api", "/apis"):
        for group in get(root, _DISCOVERY)["items"]:
            for kind in _of_group(group):
                found.setdefault((kind.group, kind.plural), kind)
    return [kind for key, kind in found.items() if key not in _IGNORED]


def _of_group(group: Mapping[str, Any]) -> Iterator[Kind]:
    """Versions come with the preferred one first."""
    name = group["metadata"].get("name", "")
    for version in group["versions"]:
        for resource in version.get("resources") or ():
            if "list" in resource["verbs"]:
                yield Kind(name, version["version"], resource["resource"])


class Api:
    """GETs from an API server over one connection, which is made anew when it was lost."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection(host, port, context=tls, timeout=20)

    def get(self, path: str, accept: str) -> Mapping[str, Any]:
        """What the server answers; nothing for a kind that is gone since it was discovered.

        Raises AssertionError for what else goes wrong.
        """
        for _ in range(_TRIES):
            code, body = self._get(path, accept)
            if code == HTTPStatus.TOO_MANY_REQUESTS:  # a kind that is just being set up
                time.sleep(_TRY_AGAIN_SECONDS)
                continue
            if code == HTTPStatus.NOT_FOUND:
                return {}
            break
        assert code == HTTPStatus.OK, f"GET {path}: {code} {body[:500]!r}"
        decoded: Mapping[str, Any] = json.loads(body)
        return decoded

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _get(self, path: str, accept: str) -> tuple[int, bytes]:
        headers = {"Accept": accept}
        try:
            self._connection.request("GET", path, headers=headers)
            answer = self._connection.getresponse()
        except (http.client.HTTPException, ConnectionError):  # it was idle for too long
            self._connection.close()
            self._connection.request("GET", path, headers=headers)
            answer = self._connection.getresponse()
        return answer.status, answer.read()
