"""What the tests of the client make in the cluster."""

from __future__ import annotations

from typing import Any

from towline.kube.resources import (
    CONFIG_MAPS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Object,
)

# The kinds that they make, and the label that tells these objects from what is there by itself.
KINDS = (CONFIG_MAPS, SERVICES, RESOURCE_QUOTAS, SERVICE_ACCOUNTS)
MADE = {"made-by": "test"}
MADE_SELECTOR = "made-by=test"


def labelled(name: str, **fields: Any) -> Object:
    """An object that the namespace's fixture removes."""
    metadata = {"name": name, "labels": MADE, **fields.pop("metadata", {})}
    return {"metadata": metadata, **fields}


def config_map(name: str, **fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", **labelled(name, **fields)}
