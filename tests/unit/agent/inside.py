"""What a pod has of its cluster's API, and a service in it that is intercepted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.fakes.patching import merge
from towline.agent.undo import Record, apply
from towline.agent.undoing import Changed

SERVICES = Collection("api/v1", "services")
PATH = "/api/v1/namespaces/default/services/web"
KEY = Key(SERVICES, "default", "web")
SELECTOR = {"app": "web"}


@dataclass
class Inside:
    """An API server, and the folder with what a service account has."""

    server: ApiServer
    folder: Path
    changed: Changed = field(
        default_factory=lambda: Changed(PATH, Record("job-1", "jane@laptop", "now", SELECTOR))
    )

    def advertise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Say where the server is, as Kubernetes does."""
        where = urlsplit(self.server.url)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(where.hostname))
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(where.port))

    async def intercept(self) -> None:
        """A service that leads to the agent."""
        await self.server.add(
            "api/v1",
            "services",
            {"metadata": {"name": "web"}, "spec": {"selector": SELECTOR}},
            namespace="default",
        )
        await self.edit(apply(self.service, self.changed.record))

    async def edit(self, change: dict[str, Any]) -> None:
        """Change the service, as anybody may."""
        await self.server.store.update(KEY, merge(self.service, change))

    @property
    def service(self) -> dict[str, Any]:
        """The service as it is now."""
        return self.server.store.objects[KEY]

    @property
    def selector(self) -> dict[str, str]:
        """The service's selector as it is now."""
        found: dict[str, str] = self.service["spec"]["selector"]
        return found
