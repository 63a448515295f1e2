"""Which HTTP proxy leads to a server, by the environment variables that Go programs know.

Kubernetes' own tools go by golang.org/x/net/http/httpproxy, so the same variables mean the
same here: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from towline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_for(server: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL for an http or https server URL; "" when it is reached directly.

    Raises ConfigError for a proxy that is not an HTTP one.
    """
    target = urlsplit(server)
    host = (target.hostname or "").rstrip(".")
    port = target.port or (443 if target.scheme == "https" else 80)
    variable = "HTTPS_PROXY" if target.scheme == "https" else "HTTP_PROXY"
    proxy = (environ.get(variable) or environ.get(variable.lower()) or "").strip()
    if not proxy or _is_loopback(host):
        return ""
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_matches(rule.strip().lower(), host, port) for rule in exceptions.split(",")):
        return ""
    url = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(
            f"The proxy in {variable} is not an HTTP proxy: {without_password(url)}",
            "towline speaks to the API server through HTTP proxies only; if the server can be "
            f"reached directly, add {host} to NO_PROXY",
        )
    return url


def without_password(url: str) -> str:
    """The URL as it may be shown: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _matches(rule: str, host: str, port: int) -> bool:
    """Whether one entry of NO_PROXY covers this host and port."""
    if rule == "*":
        return True
    address = _address(host)
    if "/" in rule:
        return address is not None and _is_in_network(address, rule)
    name, rule_port = _split_port(rule)
    if not name or rule_port not in ("", str(port)):
        return False
    if address is not None:
        return _address(name) == address
    name = name.removeprefix("*")
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _is_in_network(address: Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split_port(rule: str) -> tuple[str, str]:
    """`name:port`, `[v6]:port`, or either without a port."""
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return name, rest.removeprefix(":")
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
