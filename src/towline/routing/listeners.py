"""What of the router's settings stays as it is for as long as the pod lives: listeners, originals.

The router is to be noticed as little as a service's own address is. So it waits for as long as
clients and pods do, and changes nothing of requests and responses but what RFC 9110 demands and
`x-forwarded-for`. That is appended by us: Envoy's own way of doing it (`use_remote_address`) also
replaces the `x-forwarded-proto` of an ingress, and removes what another Envoy there has said.
"""

from __future__ import annotations

from typing import Any

from towline.routing.protocols import Speaks
from towline.routing.table import LOOPBACK, RoutedPort

Config = dict[str, Any]

#: In responses of the original pods to what was meant for a participant who is not there.
HEADER = "x-towline"
_UNREACHED = "nobody is there; answered by the original pods"

# More than any server that we know of takes: they are to say what is too much.
_HEADERS_KB = 1024
_HEADERS = 1000
# How long a TCP connection to an original may take; then another is tried.
_CONNECT_SECONDS = 2
# Servers close connections that have been idle, some after 2 s: a request must not meet that.
_IDLE_SECONDS = 1
_NO_LIMIT = 1_000_000_000
_NEVER = "0s"
_UPGRADES = ("websocket", "spdy/3.1", "tcp")
_TYPES = "type.googleapis.com/envoy.extensions"
_HTTP_MANAGER = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"


def original_cluster(port: RoutedPort) -> str:
    """The name of the cluster of a port's original pods."""
    return f"original-{port.port}"


def route_name(port: RoutedPort) -> str:
    """The name of a port's routes, and of its statistics."""
    return f"port-{port.port}"


def for_port(port: RoutedPort, folder: str, *, ipv6: bool, tls_folder: str) -> list[Config]:
    """The listeners of a port: for its clients, and for what no participant takes."""
    return [_front(port, folder, ipv6, tls_folder), _fallback(port)]


def original(port: RoutedPort) -> Config:
    """The cluster of a port's original pods."""
    limits = {
        f"max_{what}": _NO_LIMIT
        for what in ("connections", "pending_requests", "requests", "retries")
    }
    return {
        "name": original_cluster(port),
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{_TYPES}.clusters.dns.v3.DnsCluster",
                "dns_lookup_family": "V4_PREFERRED",
                "dns_refresh_rate": "2s",
            },
        },
        "connect_timeout": f"{_CONNECT_SECONDS}s",
        # An address of the cluster chooses a pod for each connection: were those of others used
        # again, all clients would come to the same pod.
        "connection_pool_per_downstream_connection": True,
        "lb_policy": "RING_HASH" if port.affinity else "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        # Pods that have gone are passed over, until their addresses are forgotten.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "base_ejection_time": "5s",
            "max_ejection_percent": 90,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
        },
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60}},
        "typed_extension_protocol_options": upstream_http(_IDLE_SECONDS),
        **({"transport_socket": _tls_upstream()} if port.speaks is Speaks.TLS else {}),
        "load_assignment": assignment(
            original_cluster(port), [(port.original.host, port.original.port)]
        ),
    }


def assignment(name: str, targets: list[tuple[str, int]]) -> Config:
    """The endpoints of a cluster, each the next one's last resort."""
    return {
        "cluster_name": name,
        "endpoints": [
            {"priority": priority, "lb_endpoints": [{"endpoint": {"address": address(*target)}}]}
            for priority, target in enumerate(targets)
        ],
    }


def address(host: str, port: int) -> Config:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def upstream_http(idle_seconds: int) -> Config:
    """How HTTP is spoken on: as it came, HTTP/1.1 or HTTP/2."""
    options = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {
            "idle_timeout": f"{idle_seconds}s",
            "max_headers_count": _HEADERS,
            "max_response_headers_kb": _HEADERS_KB,
        },
        "use_downstream_protocol_config": {
            "http_protocol_options": _http1(),
            "http2_protocol_options": _http2(),
        },
    }
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


def _front(port: RoutedPort, folder: str, ipv6: bool, tls_folder: str) -> Config:
    manager = _http_manager(
        route_name(port),
        {
            "rds": {
                "route_config_name": route_name(port),
                "config_source": config_source(folder, f"{route_name(port)}.json"),
            }
        },
    )
    host = {"address": "::", "ipv4_compat": True} if ipv6 else {"address": "0.0.0.0"}  # noqa: S104
    return {
        "name": route_name(port),
        "address": {"socket_address": {**host, "port_value": port.port}},
        **_chains(port, manager, tls_folder),
    }


def config_source(folder: str, name: str) -> Config:
    """Where a resource is read from, again whenever a file of that name is moved there."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{folder}/{name}", "watched_directory": {"path": folder}},
    }


def _chains(port: RoutedPort, manager: Config, tls_folder: str) -> Config:
    if port.speaks is Speaks.TLS:
        chain = {"filters": [manager], "transport_socket": _tls_downstream(tls_folder)}
        return {"filter_chains": [chain]}
    if port.speaks is not Speaks.LOOK:
        return {"filter_chains": [{"filters": [manager]}]}
    protocols = ["http/1.0", "http/1.1", "h2c"]
    return {
        # What says nothing waits for the server to speak first, as those of databases do.
        "listener_filters_timeout": "0.3s",
        "continue_on_listener_filters_timeout": True,
        "listener_filters": [
            _extension("envoy.filters.listener", "tls_inspector", "TlsInspector"),
            _extension("envoy.filters.listener", "http_inspector", "HttpInspector"),
        ],
        "filter_chains": [
            {
                "filter_chain_match": {
                    "transport_protocol": "raw_buffer",
                    "application_protocols": protocols,
                },
                "filters": [manager],
            }
        ],
        "default_filter_chain": {"filters": [_passing(port)]},
    }


def _passing(port: RoutedPort) -> Config:
    kind = f"{_TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": kind,
            "stat_prefix": f"passed-{port.port}",
            "cluster": original_cluster(port),
            "idle_timeout": _NEVER,
            "max_connect_attempts": 3,
        },
    }


def _fallback(port: RoutedPort) -> Config:
    said = {"header": {"key": HEADER, "value": _UNREACHED}}
    route = {
        "match": {"prefix": ""},
        "route": original_route(port),
        "response_headers_to_add": [{**said, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
    routes = {"name": "fallback", "virtual_hosts": [virtual_host([route])]}
    manager = _http_manager(f"fallback-{port.port}", {"route_config": routes})
    # Who is back is to get the next request: it must not come on this connection.
    once = {"max_requests_per_connection": 1}
    manager["typed_config"]["common_http_protocol_options"].update(once)
    return {
        "name": f"fallback-{port.port}",
        "address": address(LOOPBACK, port.fallback),
        "filter_chains": [{"filters": [manager]}],
    }


def virtual_host(routes: list[Config]) -> Config:
    """Routes for whatever host."""
    return {"name": "all", "domains": ["*"], "routes": routes}


def original_route(port: RoutedPort) -> Config:
    """To the original pods."""
    route: Config = {
        "cluster": original_cluster(port),
        **patient(),
        "retry_policy": {
            # Nothing of the request has been acted on in these cases.
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "0.01s"},
            "host_selection_retry_max_attempts": 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
        },
    }
    if port.affinity:
        route["hash_policy"] = [{"connection_properties": {"source_ip": True}}]
    return route


def patient() -> Config:
    """A route without limits of time."""
    return {"timeout": _NEVER, "idle_timeout": _NEVER}


def _http_manager(name: str, routes: Config) -> Config:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _HTTP_MANAGER,
            "stat_prefix": name,
            **routes,
            "codec_type": "AUTO",
            "http_protocol_options": {
                **_http1(),
                "accept_http_10": True,
                "default_host_for_http_10": "localhost",
            },
            "http2_protocol_options": _http2(),
            "common_http_protocol_options": {"max_headers_count": _HEADERS},
            "max_request_headers_kb": _HEADERS_KB,
            "stream_idle_timeout": _NEVER,
            "upgrade_configs": [{"upgrade_type": each} for each in _UPGRADES],
            "proxy_100_continue": True,
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": False,
            "preserve_external_request_id": True,
            "use_remote_address": False,
            "normalize_path": False,
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{_TYPES}.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                        # Nobody looks at them, and they are made for each request.
                        "dynamic_stats": False,
                    },
                }
            ],
        },
    }


def _http1() -> Config:
    kind = f"{_TYPES}.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    keeping = {"name": "preserve_case", "typed_config": {"@type": kind}}
    return {
        "header_key_format": {"stateful_formatter": keeping},
        "enable_trailers": True,
        "allow_custom_methods": True,
    }


def _http2() -> Config:
    return {"allow_connect": True, "allow_metadata": False}


def _tls_downstream(folder: str) -> Config:
    certificate = {
        "certificate_chain": {"filename": f"{folder}/tls.crt"},
        "private_key": {"filename": f"{folder}/tls.key"},
    }
    common = {"tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1"]}
    return _tls("DownstreamTlsContext", {"common_tls_context": common})


def _tls_upstream() -> Config:
    # As whom a pod's certificate speaks is between it and its clients: nobody says whom to trust.
    return _tls("UpstreamTlsContext", {"auto_host_sni": True, "common_tls_context": {}})


def _tls(kind: str, context: Config) -> Config:
    typed = {"@type": f"{_TYPES}.transport_sockets.tls.v3.{kind}", **context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def _extension(group: str, name: str, kind: str) -> Config:
    typed = {"@type": f"{_TYPES}.filters.listener.{name}.v3.{kind}"}
    return {"name": f"{group}.{name}", "typed_config": typed}
