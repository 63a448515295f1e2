"""Finds out which addresses are a cluster's, as far as the user's rights go, and follows them.

What is complete is asked first: the ServiceCIDR objects, the API server's own errors, the nodes'
podCIDRs. Only for what these do not cover is the agent's own view taken, and the very addresses
of services and pods that are seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

from towline.agent.pod import nameservers
from towline.cluster import servicerange
from towline.cluster.ranges import Address, Answer, Kind, Network, Source, is_within, networks_of
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.errors import ApiError, Forbidden, NotFound
from towline.kube.resources import NODES, PODS, SERVICE_CIDRS, SERVICES, Object, Resource
from towline.kube.watch import EventType, watch

# What fails for a while is tried again, and what cannot be watched is asked again, after so long.
AGAIN_SECONDS = 60.0

_Read = Callable[[Object], Iterable[object]]
_Publish = Callable[[frozenset[Network]], None]


class Discovery:
    """What is known of a cluster's addresses. In `async with` it is kept up to date.

    `answers` has one for each source that was asked, `nodes` the addresses of nodes, which are
    not the cluster's own. `changed` is set with each change of them, for others to clear.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self.answers: dict[tuple[Source, Kind], Answer] = {}
        self.changed = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._nodes: dict[str, frozenset[Network]] = {}
        self._following: set[Kind] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Discovery:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._tasks: list[asyncio.Task[None]] = []
        self._stack.callback(lambda: [task.cancel() for task in self._tasks])
        return self

    async def __aexit__(self, *details: Any) -> bool | None:
        return await self._stack.__aexit__(*details)

    @property
    def nodes(self) -> frozenset[Address]:
        """The addresses of nodes, as far as they are known."""
        return frozenset(net.network_address for nets in self._nodes.values() for net in nets)

    def networks(self, kind: Kind) -> frozenset[Network]:
        """All that is known of a kind."""
        return self._known(kind, Source)

    async def ask(self, kinds: Iterable[Kind] = tuple(Kind)) -> None:
        """Ask the sources that know whole ranges, and follow them.

        Where they know nothing, services and pods themselves are looked at. These may be
        thousands, and so as early as this: the agent starts meanwhile.
        """
        await asyncio.gather(self._ask_of_services(), self._ask_of_pods())
        await asyncio.gather(*(self.see(kind) for kind in kinds if not self.networks(kind)))

    async def ask_agent(
        self, agent: Mapping[str, object], pod: str, kinds: Iterable[Kind] = tuple(Kind)
    ) -> None:
        """Take the agent's view, and look at services and pods themselves, where that is needed.

        `agent` is what the agent says of itself, `pod` the name of its pod.
        """
        if not self._sees_nodes():
            await self._note_node_of(pod)
        view = _view(agent, self.nodes)
        unknown = [kind for kind in kinds if not self._covers(kind, view[kind])]
        for kind in unknown:
            self._publish(Answer(Source.AGENT, kind, view[kind]))
        await asyncio.gather(*map(self.see, unknown))

    async def see(self, kind: Kind) -> None:
        """Follow the addresses that services, or pods, have now: all, or those of the namespace."""
        if kind in self._following:
            return
        self._following.add(kind)
        resource, read = (SERVICES, _of_service) if kind is Kind.SERVICES else (PODS, self._of_pod)

        def publish(networks: frozenset[Network]) -> None:
            self._publish(Answer(Source.SEEN, kind, networks))

        for namespace in (None, self._namespace):
            why = await self._follow(resource, namespace, read, publish)
            if not why:
                return
        self._publish(Answer(Source.SEEN, kind, why=why))

    async def _ask_of_services(self) -> None:
        def publish(networks: frozenset[Network]) -> None:
            self._publish(Answer(Source.SERVICE_CIDRS, Kind.SERVICES, networks))

        why = await self._follow(SERVICE_CIDRS, None, _of_service_cidr, publish)
        if why:
            self._publish(Answer(Source.SERVICE_CIDRS, Kind.SERVICES, why=why))
            if await self._ask_for_errors():
                self._spawn(self._ask_for_errors_again())

    async def _ask_for_errors(self) -> bool:
        """Ask what the API server says of an address outside; gives whether it names ranges."""
        key = (Source.API_ERRORS, Kind.SERVICES)
        try:
            networks = await servicerange.ask(self._client, self._namespace)
            why = "" if networks else "the API server names none"
        except ApiError as error:
            networks, why = frozenset(), _why(error, "create", SERVICES, self._namespace)
        known = self.answers[key].networks if key in self.answers else frozenset()
        # Of several ranges each answer has one.
        self._publish(Answer(*key, known | networks, why))
        return bool(networks)

    async def _ask_for_errors_again(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            await self._ask_for_errors()

    async def _ask_of_pods(self) -> None:
        def publish(networks: frozenset[Network]) -> None:
            self._publish(Answer(Source.NODES, Kind.PODS, networks))

        why = await self._follow(NODES, None, self._of_node, publish)
        if why:
            self._publish(Answer(Source.NODES, Kind.PODS, why=why))

    def _of_node(self, node: Object) -> Iterable[object]:
        addresses = node.get("status", {}).get("addresses", ())
        self._nodes[node["metadata"]["name"]] = networks_of(each["address"] for each in addresses)
        return _texts(node["spec"], "podCIDRs")

    def _of_pod(self, item: Object) -> Iterable[object]:
        """A pod in its node's network has the node's address, and one that has ended has none."""
        spec, status = item["spec"], item.get("status", {})
        # Before Kubernetes 1.28 there is but one of the two.
        hosts = [status.get("hostIP"), *(each["ip"] for each in status.get("hostIPs", ()))]
        if addresses := networks_of(hosts):
            self._nodes[spec.get("nodeName", "")] = addresses
        if spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
            return ()
        return [each["ip"] for each in status.get("podIPs", ())]

    async def _note_node_of(self, pod: str) -> None:
        with suppress(ApiError):
            self._of_pod(await self._client.get(PODS, pod, namespace=self._namespace))

    def _sees_nodes(self) -> bool:
        told = self.answers.get((Source.NODES, Kind.PODS))
        return told is not None and not told.why

    def _covers(self, kind: Kind, own: Iterable[Network]) -> bool:
        """Whether what is known of a kind seems to be all there is: the agent's own is in it.

        What is seen is not meant: that is told one by one.
        """
        known = self._known(kind, set(Source) - {Source.SEEN})
        return bool(known) and is_covered(own, known)

    def _known(self, kind: Kind, sources: Iterable[Source]) -> frozenset[Network]:
        found = (self.answers.get((source, kind)) for source in sources)
        return frozenset().union(*(answer.networks for answer in found if answer))

    def _publish(self, answer: Answer) -> None:
        self.answers[answer.source, answer.kind] = answer
        self.changed.set()

    async def _follow(
        self, resource: Resource, namespace: str | None, read: _Read, publish: _Publish
    ) -> str:
        """Follow a collection; gives why that cannot be, or "" once what there is is published."""
        first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def keep() -> None:
            while True:
                try:
                    await self._watch(resource, namespace, read, publish, first)
                except ApiError as error:
                    if not first.done():
                        first.set_result(_why(error, "list", resource, namespace or ""))
                        return
                    if isinstance(error, (Forbidden, NotFound)):
                        return
                await asyncio.sleep(AGAIN_SECONDS)

        self._spawn(keep())
        return await first

    async def _watch(
        self,
        resource: Resource,
        namespace: str | None,
        read: _Read,
        publish: _Publish,
        first: asyncio.Future[str],
    ) -> None:
        known: dict[str, frozenset[Network]] = {}
        changes = watch(self._client, resource, namespace=namespace, brief=True)
        async with aclosing(changes) as events:
            async for event in events:
                if event.type is not EventType.SYNCED:
                    uid = event.object["metadata"]["uid"]
                    now = networks_of(read(event.object))
                    before = known.pop(uid, frozenset())
                    if event.type is not EventType.DELETED:
                        known[uid] = now
                    if not first.done() or known.get(uid) == before:
                        continue
                publish(frozenset().union(*known.values()))
                if not first.done():
                    first.set_result("")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._group.create_task(work))


def is_covered(some: Iterable[Network], by: Iterable[Network]) -> bool:
    """Whether each of some networks is in one of the others."""
    by = list(by)
    return all(any(is_within(each, net) for net in by) for each in some)


def _view(agent: Mapping[str, object], nodes: frozenset[Address]) -> dict[Kind, frozenset[Network]]:
    """What the agent sees from its pod."""
    resolv_conf = str(agent.get("resolv_conf", ""))
    servers = [agent.get("service_host")]
    if ".svc." in resolv_conf:  # the cluster's own resolver, not the node's
        servers += nameservers(resolv_conf)
    networks = networks_of(_texts(agent, "networks"))
    near = any(node in net for net in networks for node in nodes if node.version == net.version)
    if near or not nodes:  # it may be the nodes' own network that the pod lives in
        networks = networks_of(_texts(agent, "addresses"))
        networks = frozenset(net for net in networks if net.network_address not in nodes)
    # Not a cache on the node, nor a nameserver of the world.
    services = {net for net in networks_of(servers) if not (net.is_global or net.is_link_local)}
    return {Kind.SERVICES: frozenset(services), Kind.PODS: networks}


def _texts(fields: Mapping[str, object], name: str) -> list[object]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def _of_service_cidr(item: Object) -> Iterable[object]:
    return _texts(item["spec"], "cidrs")


def _of_service(item: Object) -> Iterable[object]:
    return _texts(item["spec"], "clusterIPs")  # of a headless one "None", which is no address


def _why(error: ApiError, verb: str, resource: Resource, namespace: str) -> str:
    if isinstance(error, Forbidden):
        return f"you may not {Right(verb, resource.group, resource.plural, namespace=namespace)}"
    if isinstance(error, NotFound):
        return f"the cluster has no {resource.plural}"
    return error.summary
