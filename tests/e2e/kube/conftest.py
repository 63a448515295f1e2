from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab import namespaces
from lab.cluster import Lab
from tests.e2e.kube.making import KINDS, MADE_SELECTOR
from tests.e2e.notrace import Trace
from towline.kube.client import Client
from towline.kube.config import Access, load_access
from towline.kube.resources import NAMESPACES
from towline.kube.watch import until


@pytest.fixture(scope="module")
def access(lab: Lab, no_trace_of_module: Trace) -> Iterator[Access]:
    """The administrator's access, and the network to use it from for all of the module's tests.

    That is the node's: in the laptop's, this process would be taken for one of the laptop's.
    """
    found = load_access(kubeconfig_file=lab.kubeconfig(), environ={})
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.enter(lab.layout.node_net, namespaces.Kind.NET)
    yield found
    namespaces.enter(Path(f"/proc/self/fd/{home}"), namespaces.Kind.NET)
    os.close(home)


@pytest.fixture
async def client(access: Access) -> AsyncIterator[Client]:
    """The administrator's."""
    async with Client(access) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_namespace(access: Access) -> AsyncIterator[str]:
    """A namespace for this module."""
    name = f"kube-{secrets.token_hex(4)}"
    async with Client(access) as client:
        await client.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    async with Client(access) as client:
        await client.delete(NAMESPACES, name)
        await until(client, NAMESPACES, name, lambda found: found is None)


@pytest.fixture
async def namespace(client: Client, own_namespace: str) -> AsyncIterator[str]:
    """The module's namespace, from which all that a test made is removed again."""
    yield own_namespace
    for kind in KINDS:
        left = await client.list(kind, namespace=own_namespace, labels=MADE_SELECTOR)
        for item in left.items:
            name = item["metadata"]["name"]
            await client.delete(kind, name, namespace=own_namespace)
            await until(client, kind, name, lambda found: found is None, namespace=own_namespace)
