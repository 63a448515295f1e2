"""What a mesh finds out about its service, and the pod that it would begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from towline.agent.intercept import Intercepted
from towline.agent.undo import Record
from towline.agent.undoing import Changed
from towline.cluster import interception, restorer, service, sidecar
from towline.cluster.job import AgentSpec, now
from towline.cluster.router import FOLDER, SECRETS, RouterSpec
from towline.cluster.sidecar import Sidecar
from towline.features.downlink import meshports, selector
from towline.features.downlink.meshports import MeshPort
from towline.features.downlink.ports import ServicePort
from towline.features.downlink.takeover import Sharing, Wanted
from towline.kube.client import Client
from towline.kube.resources import SERVICES, Object, Resource
from towline.routing import envoy
from towline.routing.protocols import Speaks
from towline.routing.table import RoutedPort, Table, fallback_port
from towline.wire.target import Port, Target


@dataclass(frozen=True, slots=True)
class Place:
    """A service as it was seen, its original selector, its ports, and what answers here for which.

    `taken` are the numbers of all ports that something listens on in the pod. `sidecar` is what the
    original pods have.
    """

    found: Object
    selector: Mapping[str, str]
    ports: tuple[MeshPort, ...]
    chosen: Mapping[ServicePort, Target]
    sidecar: Sidecar | None = None

    @property
    def locals(self) -> dict[Port, Target]:
        """What answers here for which port of the pods."""
        return {each.listen: local for each, local in self.chosen.items()}

    @property
    def taken(self) -> set[int]:
        """The ports of the pods that the service leads to."""
        return {each.service.listen.number for each in self.ports}


async def look(client: Client, namespace: str, wanted: Wanted, *, tls: bool) -> Place:
    """Look at the service; `tls` says that its certificate can be had.

    Raises UsageError when its requests cannot be told apart, ApiError.
    """
    found = await client.get(SERVICES, wanted.target.name, namespace=namespace)
    original = interception.selector(found)
    selector.refuse_if_unfit(found, original)
    served = meshports.of_service(found, await selector.pods(client, found, original))
    chosen = meshports.choose(served, wanted.exposed, tls=tls)
    injected = await sidecar.of_pods(client, namespace, selector.labels(original))
    return Place(found, original, served, chosen, injected)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a mesh begins with: the agent, the record without a table, and the table of nobody."""

    spec: AgentSpec
    record: Record
    table: Table


def beginning(place: Place, agent: AgentSpec, sharing: Sharing, *, may_undo: bool) -> Beginning:
    """The pod that a mesh of a service begins with."""
    record = Record(agent.name, agent.owner, now(), selector=dict(place.selector))
    routed = _routed(place, agent.name, tls=bool(sharing.tls_secret))
    table = Table(tuple(routed.values()))
    passed = {
        each.service.listen: Target(agent.name, each.service.port.number)
        for each in reversed(place.ports)
        if each.service.listen not in routed
    }
    namespace, name = (place.found["metadata"][key] for key in ("namespace", "name"))
    names = {each.service.listen: each.service.target_name for each in place.ports}
    names = {port: name for port, name in names.items() if name}
    spec = replace(
        agent,
        role="mesh",
        intercepted=tuple(Intercepted(port, to) for port, to in passed.items()),
        port_names=names,
        companions=_companions(place, agent, routed, may_undo=may_undo),
        changed=Changed(SERVICES.path(namespace, name), record),
        may_undo=may_undo,
        linger_seconds=selector.linger_seconds(place.found),
        sidecar=place.sidecar,
        router=_router(place, table, sharing, names),
    )
    return Beginning(spec, record, table)


def _routed(place: Place, agent: str, *, tls: bool) -> dict[Port, RoutedPort]:
    """The ports that the router listens on, by their numbers in the pods."""
    found: dict[Port, RoutedPort] = {}
    taken = place.taken
    for each in place.ports:
        listen = each.service.listen
        # What says nothing passes without a look, unless it is wanted.
        unwanted = each.told.speaks is Speaks.LOOK and listen not in place.locals
        if unwanted or not each.is_routed(tls=tls) or listen in found:
            continue
        fallback = fallback_port(taken)
        taken.add(fallback)
        found[listen] = RoutedPort(
            listen.number,
            each.told.speaks,
            each.told.by,
            fallback,
            _original(each.service, place, agent),
            place.found["spec"].get("sessionAffinity") == "ClientIP",
        )
    return found


def _original(port: ServicePort, place: Place, agent: str) -> Target:
    """Where the original pods are: by their own addresses, if all listen on the same port.

    So the router balances; through the twin's address a client's many requests over one connection
    would all come to one pod. But a sidecar knows a service by its address, and not by its pods'.
    """
    if port.target_name or place.sidecar:
        return Target(agent, port.port.number)
    return Target(service.headless_twin(agent), port.listen.number)


def _companions(
    place: Place, agent: AgentSpec, routed: Mapping[Port, RoutedPort], *, may_undo: bool
) -> tuple[tuple[Resource, Object], ...]:
    found, about = place.found, place.found["metadata"]
    twins = [service.twin(found, place.selector, agent.name, opaque=place.sidecar is not None)]
    if any(each.original.host != agent.name for each in routed.values()):
        twins.append(service.twin(found, place.selector, agent.name, headless=True))
    changed, account = (SERVICES, about["name"]), agent.pod.service_account
    helpers = restorer.companions(agent.name, about["namespace"], *changed, account=account)
    return (*((SERVICES, twin) for twin in twins), *(helpers if may_undo else ()))


def _router(place: Place, table: Table, sharing: Sharing, names: Mapping[Port, str]) -> RouterSpec:
    ipv6 = "IPv6" in place.found["spec"].get("ipFamilies", ())
    secret = sharing.tls_secret
    tls_folder = f"{SECRETS}/{secret}" if secret else ""
    arguments = envoy.arguments(table.ports, FOLDER, ipv6=ipv6, tls_folder=tls_folder)
    needs_secret = any(each.speaks is Speaks.TLS for each in table.ports)
    ports = tuple(Port(each.port) for each in table.ports)
    return RouterSpec(
        image=sharing.router_image,
        command=(envoy.COMMAND, *arguments),
        files={each.name: each.content for each in envoy.files(table)},
        ports=ports,
        secrets=(secret,) if needs_secret else (),
        port_names={port: name for port, name in names.items() if port in ports},
    )


def notes(place: Place, *, may_undo: bool) -> Sequence[str]:
    """What the user should know of a mesh that begins."""
    return selector.notes(place.found, may_undo=may_undo)
