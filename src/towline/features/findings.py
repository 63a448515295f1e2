"""What on this machine stands in the way of names and ranges: `check` and `connect` tell of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from towline.cluster.ranges import Answer, Kind, Network, Source, merge
from towline.dns.resolvconf import ResolvConf
from towline.redirect import resolved
from towline.redirect.conflicts import Conflict, Route

NSSWITCH = Path("/etc/nsswitch.conf")
# The nameservers that are systemd-resolved itself (systemd-resolved(8)).
_STUBS = frozenset({"127.0.0.53", "127.0.0.54"})
LISTED = 5


class Verdict(StrEnum):
    """What a finding means for `tow connect`."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` says what to do when it is not ok."""

    name: str
    verdict: Verdict
    what: str
    hint: str = ""


def of_names(conf: ResolvConf) -> Finding:
    """Whether this machine's lookups can be led to the session's resolver."""
    asked = ", ".join(conf.nameservers)
    # The first is asked, and the others only when it is silent.
    first = conf.nameservers if conf.rotate else conf.nameservers[:1]
    if any(map(is_link_local, first)):
        return Finding(
            "dns",
            Verdict.PROBLEM,
            f"the nameserver that is asked first is link-local (of {asked}), and lookups to it "
            "cannot be redirected: cluster names do not resolve",
            "Put a nameserver with another address first in /etc/resolv.conf.",
        )
    return Finding("dns", Verdict.OK, f"lookups go to {asked}, and can be led to the session")


def asks_resolved(
    conf: ResolvConf, *, nsswitch: Path = NSSWITCH, resolved_socket: Path = resolved.SOCKET
) -> bool:
    """Whether programs look names up in systemd-resolved: by its own ways, or as a nameserver."""
    is_asked = "resolve" in _asked_before_dns(nsswitch) or _STUBS.intersection(conf.nameservers)
    return bool(is_asked) and resolved.is_running(resolved_socket)


def of_resolved(guards: Iterable[str]) -> Finding:
    """What is found through systemd-resolved, which has these guards for names of the world."""
    guarding = " and ".join(guards)
    if not guarding:
        return Finding("dns", Verdict.OK, "systemd-resolved can be led to ask the session")
    return Finding(
        "dns",
        Verdict.WARNING,
        f"systemd-resolved uses {guarding}, and the session leaves all names to it that may be the "
        "world's: programs that ask it do not find NAME.NAMESPACE",
        "Write NAME.NAMESPACE.svc, which they do find.",
    )


def of_unwilling_resolved(reason: str) -> Finding:
    """That systemd-resolved cannot be led to ask the session."""
    return Finding(
        "dns",
        Verdict.PROBLEM,
        f"{reason.rstrip('.')}: programs that ask systemd-resolved by itself (nss-resolve, D-Bus) "
        "do not find the cluster's names",
        "Take 'resolve' out of the hosts line of /etc/nsswitch.conf; lookups then go to the "
        "nameservers of /etc/resolv.conf.",
    )


def is_link_local(server: str) -> bool:
    """Whether a nameserver has a zone: what is sent to one cannot be told apart by its address."""
    return "%" in server


def of_ranges(kind: Kind, answers: Iterable[Answer]) -> Finding:
    """What is known of one kind of the cluster's addresses, and from where."""
    answers = list(answers)
    known = [
        f"{some((str(net) for net in merge(answer.networks)), ', ')} ({answer.source})"
        for answer in answers
        if answer.networks
    ]
    whys = [answer.why for answer in answers if answer.why]
    if any(answer.networks for answer in answers if answer.source is not Source.SEEN):
        return Finding("ranges", Verdict.OK, f"{kind} have {'; '.join(known)}")
    reasons = f"the ranges of {kind} are not known beforehand: {'; '.join(whys)}"
    return Finding(
        "ranges",
        Verdict.WARNING,
        f"{reasons}. Known are {'; '.join(known)}" if known else reasons,
        "It works without: the agent tells what it sees from its pod, and other addresses are led "
        "here one by one, as names are looked up. For a range there is --include.",
    )


def of_routes(found: Iterable[Network], clashes: Iterable[Conflict]) -> Finding:
    """Whether the cluster's ranges and this machine's own routes stand in each other's way."""
    names = some(map(str, found), ", ") or "unknown"
    told = some(map(str, clashes))
    if not told:
        return Finding("routes", Verdict.OK, f"the cluster's ranges ({names}) are free here")
    return Finding(
        "routes",
        Verdict.WARNING,
        told,
        "Where the cluster's range is the smaller one, all of it is led there while connected; "
        "where the route is, only addresses that exist there. --exclude leaves more to this "
        "machine's own network, --include leads more to the cluster.",
    )


def of_shared(
    clashes: Sequence[Conflict], seen: Collection[Network], whys: Iterable[str]
) -> Finding:
    """Of ranges that this machine has routes of its own to: only what is there is taken over.

    `seen` are the addresses there that are known, `whys` say why others are not.
    """
    what = some(map(str, clashes))
    if seen:
        listed = ", ".join(map(_address, sorted(seen, key=_order)[:LISTED]))
        more = f" and {len(seen) - LISTED} more" if len(seen) > LISTED else ""
        what += f". Of the addresses there these are led to the cluster: {listed}{more}"
    else:
        what += ". No address there is led to the cluster"
    reasons = ", as " + " and ".join(whys) if (whys := list(whys)) else ""
    what += f"; others are when their names are looked up{reasons}"
    own = " ".join(f"--exclude {clash.route.network}" for clash in clashes[:LISTED])
    return Finding(
        "routes",
        Verdict.WARNING,
        what,
        f"To leave them all to this machine's own network: {own}. "
        "To lead them all to the cluster: the same with --include.",
    )


def of_covered(clashes: Iterable[Conflict]) -> Finding:
    """Of routes of this machine's own that are broader than a range of the cluster in them."""
    by_route: dict[Route, list[Network]] = {}
    for clash in clashes:
        by_route.setdefault(clash.route, []).append(clash.shared)
    whole = [
        Conflict(network, route, cluster_wins=True)
        for route, networks in by_route.items()
        for network in merge(networks)
    ]
    shared = dict.fromkeys(clash.shared for clash in whole[:LISTED])
    covered = " ".join(f"--exclude {network}" for network in shared)
    return Finding(
        "routes",
        Verdict.WARNING,
        some(map(str, whole)),
        f"To leave it to this machine's own network instead: {covered}, or a part of it. "
        "To be told no more: the same with --include.",
    )


def of_unknown_host(host: str) -> Finding:
    """Of a host that is to be included, and that the cluster does not know."""
    return Finding(
        "routes",
        Verdict.WARNING,
        f"the cluster knows no address of {host}",
        "It is asked again every half a minute. Write the full name, as a pod would look it up.",
    )


def of_unusable(unusable: Iterable[Network]) -> Finding:
    """Of ranges of the cluster that cannot be led away from this machine."""
    return Finding(
        "routes",
        Verdict.WARNING,
        f"no cluster can have these ranges, which it says are its own: {some(map(str, unusable))}",
        "Addresses in them are not reachable; all else is.",
    )


def of_refused(refused: Mapping[Network, str]) -> Finding:
    """Of what this machine's kernel does not lead to the cluster."""
    return Finding(
        "routes",
        Verdict.PROBLEM,
        "this machine makes no route to the cluster for "
        + some(f"{_address(network)} ({why})" for network, why in refused.items()),
        "Addresses there are not reachable; all else is. See 'ip route'.",
    )


def some(items: Iterable[str], between: str = "; ") -> str:
    """List a few, and how many more there are."""
    listed = list(items)
    more = len(listed) - LISTED
    return between.join([*listed[:LISTED], *([f"and {more} more"] if more > 0 else [])])


def of_mesh(namespace: str) -> Finding:
    """That pods have sidecars, and the agent is to have none."""
    return Finding(
        "mesh",
        Verdict.WARNING,
        f"pods in {namespace} have sidecars of Istio, and the agent has none: what demands mutual "
        "TLS resets connections from here",
        "Connect with --inject, and the agent gets one.",
    )


def of_echoes() -> Finding:
    """That the agent may not send what `ping` does."""
    return Finding(
        "ping",
        Verdict.WARNING,
        "the agent may not send ICMP echoes in this cluster: ping gets no answer",
        "Give its pod the sysctl net.ipv4.ping_group_range, by --pod-patch.",
    )


def of_silence() -> Finding:
    """That the agent's pod hears nothing of its nameserver."""
    return Finding(
        "dns",
        Verdict.PROBLEM,
        "the cluster's nameserver does not answer the agent: no name of the cluster is found",
        "If a NetworkPolicy forbids its namespace's pods to reach others, have it allow that for "
        "pods with the label app.kubernetes.io/name=towline-agent, or with one that --label gives.",
    )


def _address(network: Network) -> str:
    """An address alone is no network to anybody."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _asked_before_dns(nsswitch: Path) -> list[str]:
    """The sources of host names that come before `dns`, actions between them included."""
    try:
        lines = nsswitch.read_text().splitlines()
    except OSError:
        return []
    sources = next((line.split()[1:] for line in lines if line.startswith("hosts:")), [])
    return sources[: sources.index("dns")] if "dns" in sources else sources
