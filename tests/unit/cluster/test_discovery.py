"""Which sources are asked for a cluster's addresses, with which rights, and what comes of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apihandlers import Attributes, status_response
from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key, Refused
from towline.cluster.discovery import Discovery
from towline.cluster.ranges import Kind, Network, Source
from towline.kube.client import Client

SERVICES, PODS = Kind.SERVICES, Kind.PODS
AGENT: dict[str, Any] = {
    "addresses": ["10.244.0.6", "fd00:10:244::6"],
    "networks": ["10.244.0.0/24", "fd00:10:244::/64"],
    "service_host": "10.96.0.1",
    "resolv_conf": "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n",
}


def nets(*texts: str) -> set[Network]:
    return set(map(ip_network, texts))


def may(*resources: str, everywhere: bool = True) -> Callable[[Attributes], bool]:
    """The rights to these, besides what the agent takes; `everywhere` or in the namespace."""

    def allows(asked: Attributes) -> bool:
        name = f"{asked['verb']} {asked['resource']}"
        own = asked["resource"] == "pods" and asked["verb"] == "get"
        return own or (name in resources and (everywhere or asked["namespace"] == "default"))

    return allows


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as made:
        await service_cidr(made, "kubernetes", "10.96.0.0/16", "fd00:10:96::/112")
        await node(made, "one", "10.244.0.0/24", "fd00:10:244::/64")
        await made.add(
            "api/v1",
            "services",
            {"metadata": {"name": "web"}, "spec": {"clusterIPs": ["10.96.7.7"]}},
            namespace="default",
        )
        headless = {"metadata": {"name": "db"}, "spec": {"clusterIPs": ["None"]}}
        await made.add("api/v1", "services", headless, namespace="kube-system")
        await pod(made, "agent", "10.244.0.6")
        await pod(made, "web", "10.244.1.7")
        await pod(made, "proxy", "192.168.1.10", hostNetwork=True)
        yield made


async def service_cidr(server: ApiServer, name: str, *cidrs: str) -> None:
    value = {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}
    await server.add("apis/networking.k8s.io/v1", "servicecidrs", value)


async def node(server: ApiServer, name: str, *cidrs: str) -> None:
    address = {"type": "InternalIP", "address": "192.168.1.10"}
    named = {"type": "Hostname", "address": name}
    status = {"addresses": [address, named]}
    value = {"metadata": {"name": name}, "spec": {"podCIDRs": list(cidrs)}, "status": status}
    await server.add("api/v1", "nodes", value)


async def pod(server: ApiServer, name: str, address: str, **spec: object) -> None:
    status = {"podIPs": [{"ip": address}], "hostIP": "192.168.1.11", "phase": "Running"}
    value = {"metadata": {"name": name}, "spec": spec, "status": status}
    await server.add("api/v1", "pods", value, namespace="default")


@asynccontextmanager
async def discovering(server: ApiServer) -> AsyncIterator[Discovery]:
    async with Client(server.access()) as client, Discovery(client, "default") as found:
        yield found


def says_range(server: ApiServer) -> None:
    """Answer a service with an address outside as the API server does."""

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST" or not request.path.endswith("/services"):
            return None
        assert request.query["dryRun"] == "All"
        if not server.allows({"verb": "create", "resource": "services", "namespace": "default"}):
            return None
        six = "IPv6" in (await request.json())["spec"]["ipFamilies"]
        said = f"The range of valid IPs is {'fd00:10:96::/112' if six else '10.96.0.0/16'}"
        return status_response(Refused(422, "Invalid", said))

    server.faults.append(fault)


async def until(discovery: Discovery, kind: Kind, *texts: str) -> None:
    async with asyncio.timeout(5):
        while discovery.networks(kind) != nets(*texts):
            discovery.changed.clear()
            await discovery.changed.wait()


async def test_what_knows_all_is_asked_and_nothing_else(server: ApiServer) -> None:
    async with discovering(server) as found:
        await found.ask()
        await found.ask_agent(AGENT, "agent")
        assert found.networks(SERVICES) == nets("10.96.0.0/16", "fd00:10:96::/112")
        assert found.networks(PODS) == nets("10.244.0.0/24", "fd00:10:244::/64")
        assert {source for source, _ in found.answers} == {Source.SERVICE_CIDRS, Source.NODES}
        assert found.nodes == {ip_address("192.168.1.10")}
    asked = {request.path.rpartition("/")[2] for request in server.requests}
    assert asked == {"servicecidrs", "nodes"}


async def test_error_of_the_api_server_names_the_ranges(server: ApiServer) -> None:
    server.allows = may("create services")
    says_range(server)
    async with discovering(server) as found:
        await found.ask()
        assert found.networks(SERVICES) == nets("10.96.0.0/16", "fd00:10:96::/112")
        why = found.answers[Source.SERVICE_CIDRS, SERVICES].why
        assert why == "you may not list servicecidrs.networking.k8s.io"
        assert found.answers[Source.NODES, PODS].why == "you may not list nodes"
    assert Key(Collection("api/v1", "services"), "default", "web") in server.store.objects


async def test_without_rights_there_is_the_agents_view(server: ApiServer) -> None:
    server.allows = may()
    async with discovering(server) as found:
        await found.ask()
        assert found.answers[Source.API_ERRORS, SERVICES].why == (
            "you may not create services in the namespace default"
        )
        await found.ask_agent(AGENT, "agent")
        assert found.networks(SERVICES) == nets("10.96.0.1", "10.96.0.10")
        assert found.networks(PODS) == nets("10.244.0.0/24", "fd00:10:244::/64")
        assert (
            found.answers[Source.SEEN, PODS].why == "you may not list pods in the namespace default"
        )


async def test_services_and_pods_are_seen_one_by_one_and_nodes_pods_are_not(
    server: ApiServer,
) -> None:
    server.allows = may("list services", "watch services", "list pods", "watch pods")
    async with discovering(server) as found:
        await found.ask()
        await found.ask_agent(AGENT, "agent")
        assert found.answers[Source.SEEN, SERVICES].networks == nets("10.96.7.7")
        assert found.answers[Source.SEEN, PODS].networks == nets("10.244.0.6", "10.244.1.7")


async def test_services_and_pods_are_looked_at_before_there_is_an_agent_where_no_range_is_known(
    server: ApiServer,
) -> None:
    server.allows = may("list pods", "watch pods", "list servicecidrs", "watch servicecidrs")
    async with discovering(server) as found:
        await found.ask()
        assert found.answers[Source.SEEN, PODS].networks == nets("10.244.0.6", "10.244.1.7")
        assert (Source.SEEN, SERVICES) not in found.answers


async def test_pods_are_not_looked_at_where_nobody_wants_them(server: ApiServer) -> None:
    server.allows = may("list pods", "watch pods", "list services", "watch services")
    async with discovering(server) as found:
        await found.ask((SERVICES,))
        assert {kind for source, kind in found.answers if source is Source.SEEN} == {SERVICES}


async def test_of_what_is_seen_only_the_addresses_are_kept(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 5)
    notes = {"note": "x" * 100_000}
    for number in range(50):
        value = {"metadata": {"name": f"many-{number}", "annotations": notes}, "spec": {}}
        await server.add("api/v1", "pods", value, namespace="default")
    async with discovering(server) as found:
        tracemalloc.start()
        try:
            await found.see(PODS)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # All of them are 5 MB.
    assert most < 4_000_000


async def test_namespace_is_looked_at_where_the_cluster_may_not_be(server: ApiServer) -> None:
    server.allows = may("list pods", "watch pods", everywhere=False)
    async with discovering(server) as found:
        await found.see(PODS)
        assert found.networks(PODS) == nets("10.244.0.6", "10.244.1.7")


async def test_podcidrs_that_the_agent_is_not_in_are_not_all_there_is(server: ApiServer) -> None:
    elsewhere = {**AGENT, "addresses": ["10.9.0.5"], "networks": ["10.9.0.5/32"]}
    async with discovering(server) as found:
        await found.ask()
        await found.ask_agent(elsewhere, "agent")
        expected = nets("10.244.0.0/24", "fd00:10:244::/64", "10.9.0.5", "10.244.0.6", "10.244.1.7")
        assert found.networks(PODS) == expected


async def test_network_of_the_pod_that_nodes_are_in_is_not_the_pods(server: ApiServer) -> None:
    server.allows = may()
    near = {"addresses": ["192.168.1.11", "192.168.1.77"], "networks": ["192.168.1.0/24"]}
    async with discovering(server) as found:
        await found.ask_agent(near, "agent")
        assert found.networks(PODS) == nets("192.168.1.77")


async def test_network_of_the_pod_counts_only_where_a_node_is_known(server: ApiServer) -> None:
    server.allows = lambda asked: False
    async with discovering(server) as found:
        await found.ask_agent(AGENT, "agent")
        assert found.networks(PODS) == nets("10.244.0.6", "fd00:10:244::6")


async def test_nameservers_that_are_no_services_are_not_taken_for_some(server: ApiServer) -> None:
    resolv_conf = AGENT["resolv_conf"] + "nameserver 169.254.20.10\nnameserver 8.8.8.8\n"
    async with discovering(server) as found:
        await found.ask()
        await found.ask_agent({**AGENT, "resolv_conf": resolv_conf}, "agent")
        assert (Source.AGENT, SERVICES) not in found.answers


async def test_nodes_are_known_by_the_pods_on_them(server: ApiServer) -> None:
    server.allows = may("list pods", "watch pods")
    async with discovering(server) as found:
        await found.see(PODS)
        assert found.nodes == {ip_address("192.168.1.11")}


async def test_new_ranges_come_and_go(server: ApiServer) -> None:
    async with discovering(server) as found:
        await found.ask()
        old = ("10.96.0.0/16", "fd00:10:96::/112")
        await service_cidr(server, "more", "10.97.0.0/24")
        await until(found, SERVICES, *old, "10.97.0.0/24")
        await node(server, "two", "10.244.1.0/24")
        await until(found, PODS, "10.244.0.0/24", "fd00:10:244::/64", "10.244.1.0/24")
        key = Key(Collection("apis/networking.k8s.io/v1", "servicecidrs"), "", "more")
        await server.store.delete(key, {})
        await until(found, SERVICES, *old)


async def test_range_that_two_objects_have_stays_until_both_are_gone(server: ApiServer) -> None:
    async with discovering(server) as found:
        await found.ask()
        await service_cidr(server, "same", "10.96.0.0/16")
        await service_cidr(server, "more", "10.97.0.0/24")
        key = Key(Collection("apis/networking.k8s.io/v1", "servicecidrs"), "", "same")
        await server.store.delete(key, {})
        more = Key(Collection("apis/networking.k8s.io/v1", "servicecidrs"), "", "more")
        await server.store.delete(more, {})
        await until(found, SERVICES, "10.96.0.0/16", "fd00:10:96::/112")


async def test_cluster_without_servicecidrs_says_so(server: ApiServer) -> None:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        if "servicecidrs" in request.path:
            return status_response(Refused(404, "NotFound", "the server could not find it"))
        return None

    server.faults.append(fault)
    says_range(server)
    async with discovering(server) as found:
        await found.ask()
        assert (
            found.answers[Source.SERVICE_CIDRS, SERVICES].why == "the cluster has no servicecidrs"
        )
        assert found.answers[Source.API_ERRORS, SERVICES].networks
