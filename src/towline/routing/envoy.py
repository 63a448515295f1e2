"""The router is Envoy: how it is started, and the files that tell it who gets what.

Its listeners are in its arguments, as they last for as long as the pod. What changes with the table
is in files that it reads again whenever one is moved to its place: the clusters of participants,
and for each port the routes. A file is in force when the statistic that goes with it says so:

    GET /stats?filter=<file.stat>   on the unix socket ADMIN_SOCKET in the folder
    <file.stat>.version_text: "<revision>"      it is in force
    <file.stat>.update_rejected: N              more than before: it was not taken

https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/overview/mgmt_server#xds-subscription-statistics
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from towline.routing import listeners, matching
from towline.routing.rules import Match
from towline.routing.table import LOOPBACK, Participant, RoutedPort, Table
from towline.wire.target import Port

DEFAULT_IMAGE = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
#: What the image has on its PATH.
COMMAND = "envoy"
#: In the folder: a unix socket.
ADMIN_SOCKET = "admin.sock"

_CLUSTERS = "clusters.json"
_API = "type.googleapis.com/envoy.config"
# A participant's program may take a while to be connected to, the agent does not.
_CONNECT_SECONDS = 1
# Programs close connections that have been idle, some after 2 s: a request must not meet that.
_IDLE_SECONDS = 1
_NO_LIMIT = 1_000_000_000

Config = dict[str, Any]


class File(NamedTuple):
    """A file of the router's: `stat` is what the names of its statistics begin with."""

    name: str
    content: str
    stat: str


def arguments(
    ports: Sequence[RoutedPort], folder: str, *, ipv6: bool = False, tls_folder: str = ""
) -> list[str]:
    """What to start :data:`COMMAND` with; `$` does not occur in it.

    `folder` is where it finds its files, which must be there before it starts, and makes its
    admin socket. With `ipv6` it listens on addresses of both families. `tls_folder` has the
    `tls.crt` and `tls.key` that ports that speak TLS need.
    """
    config = bootstrap(ports, folder, ipv6=ipv6, tls_folder=tls_folder)
    return [
        *("--config-yaml", config),
        *("--concurrency", "2", "--disable-hot-restart"),
        # Of `misc` are warnings about settings that are new.
        *("--log-level", "warning", "--component-log-level", "misc:error"),
        *("--drain-strategy", "immediate"),
    ]


def bootstrap(
    ports: Sequence[RoutedPort], folder: str, *, ipv6: bool = False, tls_folder: str = ""
) -> str:
    """The settings that the router is started with, as JSON, which is YAML: see `arguments`."""
    settings = {
        "node": {"id": "towline", "cluster": "towline"},
        "admin": {"address": {"pipe": {"path": f"{folder}/{ADMIN_SOCKET}", "mode": 0o600}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    # Of regular expressions; the default of 100 is for those of strangers.
                    "static_layer": {"re2.max_program_size.error_level": 100_000},
                }
            ]
        },
        "dynamic_resources": {"cds_config": listeners.config_source(folder, _CLUSTERS)},
        "static_resources": {
            "listeners": [
                each
                for port in ports
                for each in listeners.for_port(port, folder, ipv6=ipv6, tls_folder=tls_folder)
            ],
            "clusters": [listeners.original(port) for port in ports],
        },
    }
    return json.dumps(settings, separators=(",", ":"))


def files(table: Table) -> tuple[File, ...]:
    """What the router's folder has for a table, in the order in which it must be told.

    Each must be in force before the next one is written: routes may lead to new clusters.
    """
    clusters = [
        {"@type": f"{_API}.cluster.v3.Cluster", **_cluster(table, each, port)}
        for each in table.participants
        for port in each.slots
    ]
    return (
        File(_CLUSTERS, _response(table, clusters), "cluster_manager.cds"),
        *(_routes(table, port) for port in table.ports),
    )


def _routes(table: Table, port: RoutedPort) -> File:
    name = listeners.route_name(port)
    resource = {
        "@type": f"{_API}.route.v3.RouteConfiguration",
        "name": name,
        "virtual_hosts": [listeners.virtual_host(_routes_of(table, port))],
        # As a server on the way would: the client that one sees oneself.
        "request_headers_to_add": [
            {
                "header": {
                    "key": "x-forwarded-for",
                    "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                },
                "append_action": "APPEND_IF_EXISTS_OR_ADD",
            }
        ],
    }
    content = _response(table, [resource])
    return File(f"{name}.json", content, f"http.{name}.rds.{name}")


def _response(table: Table, resources: list[Config]) -> str:
    answer = {"version_info": str(table.revision), "resources": resources}
    return json.dumps(answer, separators=(",", ":"))


def _routes_of(table: Table, port: RoutedPort) -> list[Config]:
    """In the order of precedence; the last one takes what is left."""
    present = [each for each in table.present() if Port(port.port) in each.slots]
    present.sort(key=lambda each: -each.priority)
    wanted: list[tuple[Match, Participant | None]] = [
        (match, each) for each in present if not each.copy for match in each.match
    ]
    copied = [(match, each) for each in present if each.copy for match in each.match]
    routes = []
    for match, who in (*wanted, (Match(()), None)):
        for copy_match, copier in copied:
            if match.overlaps(copy_match):
                routes += _route(match & copy_match, who, copier, port)
        routes += _route(match, who, None, port)
    return routes


def _route(
    match: Match, who: Participant | None, copier: Participant | None, port: RoutedPort
) -> list[Config]:
    action = _action(who, port) if who else listeners.original_route(port)
    if copier is not None:
        mirror = {
            "cluster": _cluster_name(copier, port),
            "disable_shadow_host_suffix_append": True,
        }
        action["request_mirror_policies"] = [mirror]
    route: Config = {"match": matching.route_match(match), "route": action}
    if who is not None:
        # Only what comes by the fallback has it.
        said = f"{_plain(who.owner)} is not there; answered by the original pods"
        header = {"header": {"key": listeners.HEADER, "value": said}}
        route["response_headers_to_add"] = [{**header, "append_action": "OVERWRITE_IF_EXISTS"}]
    return [route]


def _action(who: Participant, port: RoutedPort) -> Config:
    return {
        "cluster": _cluster_name(who, port),
        **listeners.patient(),
        # When even the agent is not there, what is next in the cluster is tried.
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.01s"},
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.priority"
                    ".previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
        },
    }


def _cluster(table: Table, who: Participant, port: Port) -> Config:
    routed = next(each for each in table.ports if each.port == port.number)
    name = _cluster_name(who, routed)
    # What is copied must not come to the original pods once more.
    ports = [who.slots[port], *([] if who.copy else [routed.fallback])]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{_CONNECT_SECONDS}s",
        "circuit_breakers": {
            "thresholds": [
                {
                    f"max_{what}": _NO_LIMIT
                    for what in ("connections", "pending_requests", "requests", "retries")
                }
            ]
        },
        "typed_extension_protocol_options": listeners.upstream_http(_IDLE_SECONDS),
        "load_assignment": listeners.assignment(name, [(LOOPBACK, number) for number in ports]),
    }


def _cluster_name(who: Participant, port: RoutedPort) -> str:
    # By the participant, not the slot: whoever has that next must not get this one's connections.
    return f"participant-{who.id}-{port.port}"


def _plain(text: str) -> str:
    """What may stand in a header; `%` begins a command of Envoy's."""
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in text).replace(
        "%", "%%"
    )
