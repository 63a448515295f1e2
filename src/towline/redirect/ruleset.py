"""The nftables commands of one session, as text. Pure functions; the standard library only.

The session of rank N owns the device and the table `towN`. Its rules act on what the routing
has already given to that device, and on queries to the named nameservers, so that any number
of sessions, and of other people's tables, go about their own traffic.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from towline.redirect.packets import IPAddress

# How long a destination that accepted is taken to accept: until then connections to it do
# not wait for a dial of their own, and a destination that died is noticed only afterwards.
OPEN_SECONDS = 60

# Every session's nat chain comes before those of the ones that began earlier, and all before
# the usual -100 of others. Conntrack, at -200, must come first: hence the limit on ranks.
_NAT_PRIORITY = -101
MAX_RANK = 98
# And so does every session's chain that puts lookups into a conntrack zone, before conntrack and
# after the joining of fragments at -400: once a packet has its zone, later chains leave it.
_ZONE_PRIORITY = -300

# The sockets of the session of rank N carry BASE + N. No bit of it is one by which
# Kubernetes (0x4000, 0x8000), Tailscale (0xff0000: 0x04, 0x08) or wg-quick choose packets.
_MARK_BASE = 0x70770000

# Whom systemd-resolved asks at a session's device: an address of loopback, which it asks whatever
# the device, and on which nobody listens (84, 79, 87 spell TOW).
LINK_SERVER = ipaddress.IPv4Address("127.84.79.87")
_TO_LINK_SERVER = f"ip daddr {LINK_SERVER}"

# A connection's first packet. Of one from before conntrack was in use, which it is from the first
# such rule on, any other may be the first that conntrack sees, and is not to be led elsewhere.
_SYN = "tcp flags syn / syn,ack,rst"


def device(rank: int) -> str:
    """Name the device, and the table, of the session of a rank."""
    return f"tow{rank}"


def mark(rank: int) -> int:
    """Give the socket mark of the session of a rank."""
    return _MARK_BASE + rank


def create_table(rank: int) -> str:
    """Build the table; fails when there is one of this name, as it must."""
    name = device(rank)
    return f"""
create table inet {name} {{ flags owner; }}
table inet {name} {{
  flags owner
{_of_connections(name)}{_of_lookups(rank)}\
  chain nat {{
    type nat hook output priority {_NAT_PRIORITY - rank};
    jump nameservers
    jump link
    oifname "{name}" jump opened
  }}
{_of_what_nobody_takes(name)}\
}}
"""


def _of_connections(name: str) -> str:
    """Lead connections by what is known of their destinations.

    A SYN to a destination that is not open goes untracked (so that the same SYN, sent again
    when the destination has accepted, is new to the nat chain) to the device. One that was
    tracked since its destination was open when it passed the raw hook, and not when it came to
    nat, would be stuck in conntrack: it is dropped, and the program's next one is judged anew.
    """
    return f"""\
  set open4 {{ type ipv4_addr . inet_service; flags timeout; timeout {OPEN_SECONDS}s; }}
  set open6 {{ type ipv6_addr . inet_service; flags timeout; timeout {OPEN_SECONDS}s; }}
  chain unopened {{
    ip daddr . tcp dport @open4 return
    ip6 daddr . tcp dport @open6 return
    notrack
  }}
  chain opened {{
  }}
  chain raw {{
    type filter hook output priority raw;
    oifname "{name}" {_SYN} jump unopened
  }}
"""


def _of_lookups(rank: int) -> str:
    """Have chains for lookups, which are led nowhere yet.

    Those by UDP are tracked in a zone of the session's own. Elsewhere conntrack would go by
    what it knows of a socket from before: one that was used before the session would bypass it,
    and one that was used during it would be led to it ever after.
    """
    return f"""\
  chain nameservers {{
  }}
  chain link {{
  }}
  chain zones {{
    type filter hook output priority {_ZONE_PRIORITY - rank};
  }}
"""


def _of_what_nobody_takes(name: str) -> str:
    """Refuse it, so that nobody is left waiting.

    Queries to the device's own nameserver that no session takes are refused, though some program
    may listen on all addresses. Packets of others (containers) are not redirected, and told so.
    """
    return f"""\
  chain untaken {{
    type filter hook output priority filter;
    {_TO_LINK_SERVER} meta l4proto {{ tcp, udp }} th dport 53 reject
  }}
  chain forward {{
    type filter hook forward priority filter;
    oifname "{name}" reject with icmpx type admin-prohibited
    iifname "{name}" drop
  }}
"""


def redirect_tcp(rank: int, port: int) -> str:
    """Redirect connections to open destinations to a port of this machine's loopback."""
    name = device(rank)
    return f"""
flush chain inet {name} opened
add rule inet {name} opened ip daddr . tcp dport @open4 redirect to :{port}
add rule inet {name} opened ip6 daddr . tcp dport @open6 redirect to :{port}
add rule inet {name} opened {_SYN} drop
"""


def open_set(version: int) -> str:
    """Name the set that holds open destinations of an IP version, for `OPEN_SECONDS` each."""
    return f"open{version}"


def capture_dns(rank: int, nameservers: Sequence[IPAddress], port: int) -> str:
    """Redirect queries to nameservers to a port of this machine's loopback.

    Not those of this session's own sockets, nor of older sessions' ones. The newest session's
    chain comes first; its own query comes to the next older session, and so on to the
    nameserver itself.
    """
    name, exempt = device(rank), _exempt(rank)
    lines = [
        f"flush chain inet {name} nameservers",
        f"add rule inet {name} nameservers {exempt}",
        f"flush chain inet {name} zones",
        # The replies: they must meet the entries that the queries made.
        f"add rule inet {name} zones ip saddr 127.0.0.1 udp sport {port} ct zone set {port}",
        f"add rule inet {name} zones ip6 saddr ::1 udp sport {port} ct zone set {port}",
        f"add rule inet {name} zones {exempt}",
    ]
    for version, family in ((4, "ip"), (6, "ip6")):
        members = ", ".join(str(each) for each in nameservers if each.version == version)
        if members:
            udp, tcp = _lookups_to(f"{family} daddr {{ {members} }}")
            lines += [
                f"add rule inet {name} zones {udp} ct zone set {port}",
                # One that came by the zones before this rule was there keeps its way: its reply
                # would not be known for one.
                f"add rule inet {name} nameservers {udp} ct zone {port} redirect to :{port}",
                f"add rule inet {name} nameservers {tcp} redirect to :{port}",
            ]
    return "\n".join(lines)


def capture_link(rank: int, port: int) -> str:
    """Redirect queries to the device's own nameserver as :func:`capture_dns` does for others.

    That nameserver is the same for all sessions, so that the newest one is asked first, whatever
    device a query is for. Port 0: nothing is redirected any more.
    """
    name = device(rank)
    lines = [f"flush chain inet {name} link"]
    if port:
        lines += [
            f"add rule inet {name} link {_exempt(rank)}",
            *(
                f"add rule inet {name} link {lookup} redirect to :{port}"
                for lookup in _lookups_to(_TO_LINK_SERVER)
            ),
        ]
    return "\n".join(lines)


def _lookups_to(whom: str) -> tuple[str, str]:
    """What matches queries to those that `whom` matches, by UDP and by TCP."""
    return f"udp dport 53 {whom}", f"{_SYN} tcp dport 53 {whom}"


def _exempt(rank: int) -> str:
    """The rule that leaves alone what this session and older ones ask upstream."""
    return f"meta mark {mark(0):#x}-{mark(rank):#x} return"
