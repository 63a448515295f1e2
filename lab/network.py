"""The lab's two network namespaces, the cable between them, and what may pass it.

laptop eth0 10.99.0.1 ── up0 10.99.0.2 node (API server, and 10.99.0.53, the world's DNS)

The laptop has no default route, and of the node it reaches just the API server and the DNS
server; the node forwards nothing between the laptop and its pods, but while :func:`routed` lasts.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab import namespaces
from lab.errors import LabError
from lab.layout import Layout

NODE_V4, NODE_V6 = "10.99.0.2", "fd00:99::2"
LAPTOP_V4, LAPTOP_V6 = "10.99.0.1", "fd00:99::1"
MOVED_V4 = "10.99.0.3"
DNS_V4, DNS_V6 = "10.99.0.53", "fd00:99::53"
API_PORT = 6443
# The API server with a delay of N ms listens on this port plus N.
DELAYED_API_PORT = 20000
MAX_RTT_MS = 2000

# The node has a default route, as kube-proxy expects of one, but behind it everything vanishes.
# Of these, from the ranges for documentation (RFC 5737, RFC 3849), it says that there is no way.
UNREACHABLE_V4, UNREACHABLE_V6 = "198.51.100.0/24", "2001:db8:1::/48"

_CABLE = f"""
link add up0 type veth peer name eth0 netns {{laptop}}
addr add {NODE_V4}/24 dev up0
addr add {DNS_V4}/24 dev up0
addr add {NODE_V6}/64 dev up0 nodad
addr add {DNS_V6}/64 dev up0 nodad
link set lo up
link set up0 up
route add default via {LAPTOP_V4}
route add default via {LAPTOP_V6}
"""

_LAPTOP = f"""
link set lo up
addr add {LAPTOP_V4}/24 dev eth0
addr add {LAPTOP_V6}/64 dev eth0 nodad
link set eth0 up
"""

# Neighbour discovery needs the link-local and multicast addresses. What kube-proxy refuses in
# its forward chain is to be refused, not dropped: it comes first.
_FIREWALL = f"""
table inet lab
delete table inet lab
table inet lab {{
    set routed4 {{ type ipv4_addr; flags interval; }}
    chain first {{
        type filter hook prerouting priority raw; policy accept;
        iifname up0 ip daddr @routed4 accept
        iifname up0 ip daddr != {{ {NODE_V4}, {DNS_V4} }} drop
        iifname up0 ip6 daddr != {{ {NODE_V6}, {DNS_V6}, fe80::/10, ff00::/8 }} drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != up0 accept
        ct state established,related accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        tcp dport {{ {API_PORT}, {DELAYED_API_PORT}-{DELAYED_API_PORT + MAX_RTT_MS} }} accept
        ip daddr {DNS_V4} meta l4proto {{ tcp, udp }} th dport 53 accept
        ip6 daddr {DNS_V6} meta l4proto {{ tcp, udp }} th dport 53 accept
        drop
    }}
    chain forward {{
        type filter hook forward priority filter + 10; policy accept;
        ip daddr {UNREACHABLE_V4} reject with icmp host-unreachable
        ip6 daddr {UNREACHABLE_V6} reject with icmpv6 addr-unreachable
        iifname up0 ip daddr @routed4 accept
        oifname up0 ip saddr @routed4 accept
        iifname up0 drop
        oifname up0 drop
    }}
}}
"""

# kube-proxy needs to see what one pod answers another over the bridge. And the kernel does not
# keep an ICMP error to itself because it has just sent another.
_NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
}


def ensure(layout: Layout) -> None:
    """Make the namespaces and the cable where they are missing, and load the firewall."""
    nets = (layout.node_net, layout.laptop_net)
    if not all(_is_namespace(net) for net in nets) or not _has_cable(layout):
        remove(layout)
        _lay_cable(layout)
    _write_sysctls(layout)
    _run(["nft", "-f", "-"], stdin=_FIREWALL, net=layout.node_net)


def remove(layout: Layout) -> None:
    """Remove both namespaces, and with them the cable."""
    for net in (layout.node_net, layout.laptop_net):
        if net.exists():
            _run(["ip", "netns", "delete", net.name])


@contextlib.contextmanager
def routed(layout: Layout, network: str) -> Iterator[None]:
    """The laptop reaches an IPv4 network of the cluster meanwhile, as by a VPN."""
    element = f"inet lab routed4 {{ {network} }}"
    route = ("dev", "eth0", "via", NODE_V4)
    _run(["nft", f"add element {element}"], net=layout.node_net)
    _run(["ip", "route", "replace", network, *route], net=layout.laptop_net)
    try:
        yield
    finally:
        _run(["ip", "route", "del", network, *route], net=layout.laptop_net)
        _run(["nft", f"delete element {element}"], net=layout.node_net)


@contextlib.contextmanager
def moved(layout: Layout) -> Iterator[None]:
    """The laptop has another IPv4 address meanwhile, as when it goes from Wi-Fi to Ethernet."""
    _readdress(layout, LAPTOP_V4, MOVED_V4)
    try:
        yield
    finally:
        _readdress(layout, MOVED_V4, LAPTOP_V4)


def _readdress(layout: Layout, old: str, new: str) -> None:
    # The old one first: one of the same network would be a secondary one, and go with it.
    for verb, address in (("del", old), ("add", new)):
        _run(["ip", "address", verb, f"{address}/24", "dev", "eth0"], net=layout.laptop_net)


def node_rules(layout: Layout) -> str:
    """The node's firewall with kube-proxy's rules, as nft prints them."""
    return _run(["nft", "list", "ruleset"], net=layout.node_net)


def _lay_cable(layout: Layout) -> None:
    for net in (layout.node_net, layout.laptop_net):
        _run(["ip", "netns", "add", net.name])
    cable = _CABLE.format(laptop=layout.laptop_net.name)
    _run(["ip", "-n", layout.node_net.name, "-batch", "-"], stdin=cable)
    _run(["ip", "-n", layout.laptop_net.name, "-batch", "-"], stdin=_LAPTOP)


def _is_namespace(path: Path) -> bool:
    """Whether something is mounted there; after a reboot just the empty file may be left."""
    return path.exists() and path.stat().st_dev != path.parent.stat().st_dev


def _has_cable(layout: Layout) -> bool:
    shown = subprocess.run(
        ["ip", "-n", layout.laptop_net.name, "link", "show", "eth0"],
        capture_output=True,
        check=False,
    )
    return shown.returncode == 0


def _write_sysctls(layout: Layout) -> None:
    def write() -> None:
        for name, value in _NODE_SYSCTLS.items():
            Path("/proc/sys", name).write_text(value)

    try:
        namespaces.call_inside(layout.node_net, write)
    except FileNotFoundError:
        if shutil.which("modprobe"):
            with contextlib.suppress(LabError):
                _run(["modprobe", "br_netfilter"])
        try:
            namespaces.call_inside(layout.node_net, write)
        except FileNotFoundError as error:
            raise LabError(
                f"The kernel lacks {error.filename}: load the module br_netfilter."
            ) from None


def _run(argv: list[str], *, stdin: str = "", net: Path | None = None) -> str:
    if net is not None:
        argv = ["nsenter", f"--net={net}", "--", *argv]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"'{' '.join(argv)}' failed: {done.stderr.strip()}")
    return done.stdout
